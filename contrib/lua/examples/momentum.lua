-- The call as a script for Momentum makes it: nothing here knows of callforward.
require("msys.beta.rcptto_proxy");

local res, err = msys.beta.rcptto_proxy.query({mailfrom = "foo@foo.com",
                                               rcptto = "bar@bar.com",
                                               host = "smtp.foo.com",
                                               port = 25,
                                               timeout = 60 -- optional, 60 default
                                               });

-- res is true if everything succeeded, otherwise false, and err says why.
print(res, err)
