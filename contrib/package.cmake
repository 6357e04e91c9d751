# The Debian package: "cmake --build --preset release", then "cpack -G DEB" in build/release; see README.md.
set(CPACK_PACKAGE_NAME callforward)
set(CPACK_PACKAGE_VENDOR "the callforward maintainers")
set(CPACK_PACKAGE_CONTACT "The callforward maintainers <maintainers@callforward.example>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "milter that verifies mail recipients at the next hop")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A milter for Postfix and Sendmail. At each RCPT it asks the host to which
the MTA would deliver, by a short SMTP conversation that ends before DATA,
whether it takes mail for that recipient (a call-forward). What the next hop
does not have is refused at once, with the next hop's own reply.
.
It is for relays, gateways and backup MXs that have no list of the recipients
of the hosts behind them. Answers are remembered, also over a restart.
The operator's tool, callforward, asks by hand.")
set(CPACK_DEBIAN_PACKAGE_SECTION mail)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, ca-certificates, init-system-helpers (>= 1.54)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "postfix | sendmail-bin")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "fail2ban, prometheus")
# Only the daemon and the tool: the library, what is for development, and the Lua module are components of their own.
set(CPACK_INSTALL_CMAKE_PROJECTS "${CMAKE_BINARY_DIR};callforward;Unspecified;/")
set(CPACK_STRIP_FILES ON)
# /usr and /etc, whatever prefix the build was configured with: DESTDIR is the staging folder.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian/finish.cmake)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_LIST_DIR}/debian/conffiles
  ${CMAKE_CURRENT_LIST_DIR}/debian/postinst
  ${CMAKE_CURRENT_LIST_DIR}/debian/prerm
  ${CMAKE_CURRENT_LIST_DIR}/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
