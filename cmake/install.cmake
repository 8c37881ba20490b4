# What is installed, in three components that are the three Debian packages: server (maru), dev (libmaru-dev) and python
# (python3-maru). The release preset installs below /usr; the configuration goes to /etc.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
  WORLD_EXECUTE)
set(MARU_PACKAGE_DIR ${PROJECT_SOURCE_DIR}/deploy/package)
set(MARU_MADE ${PROJECT_BINARY_DIR}/package)  # what is made for the packages

# -- server
set(MARU_UNIT_DIR "lib/systemd/system" CACHE STRING "Where systemd's units go, below the prefix or absolute")
install(TARGETS marud maructl maru-bench RUNTIME DESTINATION bin COMPONENT server)
install(FILES deploy/marud.toml DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/maru COMPONENT server)
install(FILES ${MARU_PACKAGE_DIR}/maru.service DESTINATION ${MARU_UNIT_DIR} COMPONENT server)
file(GLOB MARU_DOCS CONFIGURE_DEPENDS docs/*.md)
install(FILES ${MARU_DOCS} README.md DESTINATION share/doc/maru COMPONENT server)

# Man pages say what the programs themselves say.
find_program(GZIP gzip REQUIRED)
find_program(DEBIAN_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
file(STRINGS ${MARU_PACKAGE_DIR}/changelog MARU_DATE REGEX "^ -- " LIMIT_COUNT 1)
string(REGEX REPLACE "^.*, ([0-9]+ [A-Za-z]+ [0-9]+) .*$" "\\1" MARU_DATE "${MARU_DATE}")
string(REPLACE " " "-" MARU_DATE "${MARU_DATE}")
set(MARU_GZIPPED)
foreach(page marud.8 maructl.1 maru-bench.1)
  string(REGEX REPLACE "\\..*" "" program ${page})
  string(REGEX REPLACE ".*\\." "" section ${page})
  add_custom_command(OUTPUT ${MARU_MADE}/${page}.gz
    COMMAND ${CMAKE_COMMAND} -E make_directory ${MARU_MADE}
    COMMAND ${DEBIAN_PYTHON} ${MARU_PACKAGE_DIR}/man_page.py $<TARGET_FILE:${program}> ${section} ${PROJECT_VERSION}
      ${MARU_DATE} > ${MARU_MADE}/${page}
    COMMAND ${GZIP} -9nf ${MARU_MADE}/${page}
    DEPENDS ${program} ${MARU_PACKAGE_DIR}/man_page.py VERBATIM)
  list(APPEND MARU_GZIPPED ${MARU_MADE}/${page}.gz)
  install(FILES ${MARU_MADE}/${page}.gz DESTINATION share/man/man${section} COMPONENT server)
endforeach()

# Debian's papers, for each package.
add_custom_command(OUTPUT ${MARU_MADE}/changelog.Debian.gz
  COMMAND ${CMAKE_COMMAND} -E make_directory ${MARU_MADE}
  COMMAND ${GZIP} -9nc ${MARU_PACKAGE_DIR}/changelog > ${MARU_MADE}/changelog.Debian.gz
  DEPENDS ${MARU_PACKAGE_DIR}/changelog VERBATIM)
foreach(package server:maru dev:libmaru-dev python:python3-maru)
  string(REPLACE ":" ";" package ${package})
  list(GET package 0 component)
  list(GET package 1 name)
  install(FILES ${MARU_PACKAGE_DIR}/copyright ${MARU_MADE}/changelog.Debian.gz DESTINATION share/doc/${name}
    COMPONENT ${component})
endforeach()
add_custom_target(maru_package_files ALL DEPENDS ${MARU_GZIPPED} ${MARU_MADE}/changelog.Debian.gz)

# -- dev: find_package(maru), then link maru::client
set(MARU_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/maru)
set_target_properties(maru_net PROPERTIES EXPORT_NAME client)
install(TARGETS maru_net maru_cxl maru_base maru_options EXPORT maru
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
# The client's header and what it includes, found anew when one of them changes.
set(MARU_HEADERS net/client.hpp)
set(MARU_HEADERS_LEFT ${MARU_HEADERS})
while(MARU_HEADERS_LEFT)
  list(POP_FRONT MARU_HEADERS_LEFT header)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${header})
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${header} DESTINATION include/maru/${folder} COMPONENT dev)
  file(STRINGS ${PROJECT_SOURCE_DIR}/${header} lines REGEX "^#include \"")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^#include \"([^\"]*)\".*$" "\\1" included "${line}")
    if(NOT included IN_LIST MARU_HEADERS)
      list(APPEND MARU_HEADERS ${included})
      list(APPEND MARU_HEADERS_LEFT ${included})
    endif()
  endforeach()
endwhile()
install(EXPORT maru NAMESPACE maru:: FILE maruTargets.cmake DESTINATION ${MARU_CMAKE_DIR} COMPONENT dev)
write_basic_package_version_file(${MARU_MADE}/maruConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/maruConfig.cmake cmake/FindCAF.cmake ${MARU_MADE}/maruConfigVersion.cmake
  DESTINATION ${MARU_CMAKE_DIR} COMPONENT dev)
install(FILES examples/quickstart.cpp DESTINATION share/doc/libmaru-dev/examples COMPONENT dev)

# -- python: for Debian's interpreter, the one that the module is built for
if(MARU_PYTHON)
  install(DIRECTORY ${PROJECT_BINARY_DIR}/python/ DESTINATION lib/python3/dist-packages COMPONENT python
    PATTERN __pycache__ EXCLUDE PATTERN "*.so" EXCLUDE)
  # As a target, so that it is stripped.
  install(TARGETS maru_python LIBRARY DESTINATION lib/python3/dist-packages/maru_handler COMPONENT python)
endif()
