"""libcallforward as a package: installed into a folder, the examples built against it by CMake and by
pkg-config, and run; the Lua module built by LuaRocks."""

import glob
import os
import re
import shutil
import subprocess
import unittest

from harness.next_hop import NextHop
from harness.sandbox import Sandbox, sanitizers

from test_lua import ROOT, build, environment


def run(*command, cwd=None, **more):
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True,
                          timeout=300, env={**os.environ, **more})
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # In the build folder, so that a second run compiles nothing.
        cls.folder = os.path.join(build(), "package")
        cls.prefix = os.path.join(cls.folder, "prefix")
        shutil.rmtree(cls.prefix, ignore_errors=True)
        run("cmake", "--install", build(), "--prefix", cls.prefix)
        cls.libraries = os.path.dirname(glob.glob(
            os.path.join(cls.prefix, "lib*", "**", "libcallforward.so"), recursive=True)[0])
        cls.box = Sandbox()
        cls.hop = cls.box.add(NextHop("127.0.3.1"))
        cls.flags = f"-fsanitize={sanitizers()}" if sanitizers() else ""
        if "thread" in sanitizers():
            cls.flags += " -Wno-tsan"  # asio's fences, which it does not know

    @classmethod
    def tearDownClass(cls):
        cls.box.stop()

    def ask(self, program, *arguments, expect):
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True,
                              timeout=60, env={**os.environ, "LD_LIBRARY_PATH": self.libraries})
        self.assertEqual(done.returncode, expect, done)
        return done.stdout.splitlines()

    def check_query(self, program):
        known = self.ask(program, "known@hop.test", "127.0.3.1", self.hop.port, expect=0)
        self.assertEqual(known, ["deliverable; accepted: 250 2.1.5 Ok"])
        unknown = self.ask(program, "nobody@hop.test", "127.0.3.1", self.hop.port, expect=1)
        self.assertRegex(unknown[0], r"^undeliverable; unknown_user: 550 5\.1\.1 ")

    def test_examples_built_by_cmake(self):
        at = os.path.join(self.folder, "cmake")
        sources = glob.glob(os.path.join(self.prefix, "share", "doc", "*", "examples", "cpp"))[0]
        run("cmake", "-S", sources, "-B", at, f"-DCMAKE_PREFIX_PATH={self.prefix}",
            "-DCMAKE_CXX_COMPILER_LAUNCHER=" + (shutil.which("ccache") or ""),
            "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror " + self.flags)
        run("cmake", "--build", at)
        self.check_query(os.path.join(at, "query"))
        lines = self.ask(os.path.join(at, "async_query"), "127.0.3.1", self.hop.port,
                         "known1@hop.test", "nobody@hop.test", "known2@hop.test", expect=0)
        self.assertEqual(len(lines), 3)
        self.assertIn("known1@hop.test: deliverable; accepted: 250 2.1.5 Ok", lines)
        self.assertEqual(sum("nobody@hop.test: undeliverable" in line for line in lines), 1)

    def test_example_built_by_pkg_config(self):
        at = os.path.join(self.folder, "pkg-config")
        os.makedirs(at, exist_ok=True)
        # CMake is told the prefix at install time only; pkg-config has a variable for that.
        settings = {"PKG_CONFIG_PATH": os.path.join(self.libraries, "pkgconfig")}
        pkg = ["pkg-config", f"--define-variable=prefix={self.prefix}"]
        flags = run(*pkg, "--cflags", "--libs", "callforward", **settings).split()
        version = run(*pkg, "--modversion", "callforward", **settings).strip()
        self.assertRegex(version, r"^\d+\.\d+\.\d+$")
        program = os.path.join(at, "query")
        run("g++", "-std=c++17", *self.flags.split(), os.path.join(ROOT, "contrib/cpp/query.cpp"),
            *flags, "-o", program)
        self.check_query(program)

    def test_programs_and_scripts_need_nothing_of_the_daemon(self):
        prefix = os.path.join(self.folder, "components")
        shutil.rmtree(prefix, ignore_errors=True)
        for component in ("library", "development", "lua"):
            run("cmake", "--install", build(), "--prefix", prefix, "--component", component)
        files = [os.path.relpath(os.path.join(at, name), prefix)
                 for at, _, names in os.walk(prefix) for name in names]
        for name in ("libcallforward.so", "callforward.h", "callforward.pc", "callforward.so",
                     "callforward.3", "callforward-lua.3"):
            self.assertTrue(any(file.endswith("/" + name) for file in files), f"{name}: {files}")
        self.assertFalse([file for file in files
                          if re.search("sbin|^bin|systemd|etc/|milter|[.]toml", file)])

    def test_another_version_is_refused(self):
        at = os.path.join(self.folder, "version")
        os.makedirs(at, exist_ok=True)
        with open(os.path.join(at, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write("cmake_minimum_required(VERSION 3.16)\nproject(x NONE)\n"
                       "find_package(callforward 99 REQUIRED)\n")
        done = subprocess.run(["cmake", "-S", at, "-B", os.path.join(at, "build"),
                               f"-DCMAKE_PREFIX_PATH={self.prefix}"], capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("99", done.stderr)

    @unittest.skipIf(shutil.which("luarocks") is None, "no LuaRocks")
    def test_lua_module_built_by_luarocks(self):
        if self.flags:
            return  # LuaRocks' compiler knows nothing of sanitizers
        tree = os.path.join(self.folder, "rocks")
        source = self.box.path("source")
        os.makedirs(os.path.join(source, "contrib"))
        shutil.copytree(os.path.join(ROOT, "contrib/lua"), os.path.join(source, "contrib/lua"))
        spec = glob.glob(os.path.join(source, "contrib/lua/*.rockspec"))[0]
        run("luarocks", "lint", spec)
        run("luarocks", "--lua-version=5.4", "--tree", tree, "make", "--deps-mode=none", spec,
            f"CALLFORWARD_INCDIR={self.prefix}/include", f"CALLFORWARD_LIBDIR={self.libraries}",
            cwd=source)
        of = environment("5.4")
        of["LUA_CPATH"] = os.path.join(tree, "lib", "lua", "5.4", "?.so")
        of["LUA_PATH"] = os.path.join(tree, "share", "lua", "5.4", "?.lua")
        of["LD_LIBRARY_PATH"] = self.libraries
        done = subprocess.run(
            ["lua5.4", "-e", "require('msys.beta.rcptto_proxy') print((msys.beta.rcptto_proxy.query{"
             f"rcptto='known@hop.test', host='127.0.3.1', port={self.hop.port}}}))"],
            capture_output=True, text=True, timeout=60, env=of)
        self.assertEqual(done.stdout.strip(), "true", done)

