"""A sandbox for all tests of a class, filled once."""

from harness.sandbox import Sandbox


class SharedSandbox:
    """Mixed into unittest.TestCase; the test class gives fill(), which puts things into cls.box."""

    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox()
        try:
            cls.fill()
        except BaseException:
            cls.box.stop()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.box.stop()
