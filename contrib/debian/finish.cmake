# Makes what CPack has installed a Debian package's tree (Debian Policy, chapters 10 and 12): manual pages and changelogs
# compressed, copyright and changelog in place. Run by CPack in its staging folder, before it packs.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
  return()
endif()
set(tree ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(doc ${tree}/usr/share/doc/callforward)

file(COPY ${CMAKE_CURRENT_LIST_DIR}/copyright DESTINATION ${doc})
file(COPY_FILE ${CMAKE_CURRENT_LIST_DIR}/changelog ${doc}/changelog.Debian)
file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)
file(REMOVE ${doc}/LICENSE)
file(GLOB_RECURSE to_compress ${tree}/usr/share/man/*.[0-9]*)
list(APPEND to_compress ${doc}/changelog ${doc}/changelog.Debian)
find_program(GZIP gzip REQUIRED)
execute_process(COMMAND ${GZIP} -9nf ${to_compress} COMMAND_ERROR_IS_FATAL ANY)

# The modes of Policy 10.9, whatever the umask of whoever builds.
file(GLOB_RECURSE all LIST_DIRECTORIES true ${tree}/*)
foreach(path ${all})
  if(IS_DIRECTORY ${path} OR path MATCHES "/s?bin/[^/]*$")
    file(CHMOD ${path} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  elseif(NOT IS_SYMLINK ${path})
    file(CHMOD ${path} PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  endif()
endforeach()
