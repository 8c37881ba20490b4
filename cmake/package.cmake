# The Debian packages, by CPack: scripts/package builds them. Descriptions are plain paragraphs: CPack indents them.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME maru)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/deb)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)  # /etc is not below the prefix
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL server dev)
if(MARU_PYTHON)
  list(APPEND CPACK_COMPONENTS_ALL python)
endif()

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "Maru maintainers <maintainers@maru.invalid>")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(CPACK_DEBIAN_SERVER_PACKAGE_NAME maru)
set(CPACK_DEBIAN_SERVER_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_SERVER_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS "adduser")
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA ${MARU_PACKAGE_DIR}/postinst ${MARU_PACKAGE_DIR}/prerm
  ${MARU_PACKAGE_DIR}/postrm ${MARU_PACKAGE_DIR}/conffiles)
set(CPACK_COMPONENT_SERVER_DESCRIPTION "server of a pool of KV cache chunks in CXL memory
Maru lets the LLM inference workers of a host share one copy of their KV
cache: the bytes stay in CXL memory (or tmpfs) that every worker maps, and
only small messages travel.

This package has the server, marud, with its systemd unit, the operator's
tool maructl, and maru-bench, which measures both.")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libmaru-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
  "libcaf-dev, libssl-dev, libsodium-dev, libisal-dev, libxxhash-dev, pkg-config | pkgconf")
set(CPACK_DEBIAN_DEV_PACKAGE_SUGGESTS "maru (= ${PROJECT_VERSION}-1)")
set(CPACK_COMPONENT_DEV_DESCRIPTION "C++ client of Maru's pools of KV cache chunks
Maru lets the LLM inference workers of a host share one copy of their KV
cache.

This package has the client that a worker links: a header, static libraries
and a CMake package, find_package(maru).")

set(CPACK_DEBIAN_PYTHON_PACKAGE_NAME python3-maru)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SHLIBDEPS ON)
if(MARU_PYTHON)
  math(EXPR MARU_PYTHON_NEXT "${Python3_VERSION_MINOR} + 1")
  set(CPACK_DEBIAN_PYTHON_PACKAGE_DEPENDS "python3 (>= 3.${Python3_VERSION_MINOR}), python3 (<< 3.${MARU_PYTHON_NEXT})")
endif()
set(CPACK_DEBIAN_PYTHON_PACKAGE_RECOMMENDS "python3-numpy")
set(CPACK_COMPONENT_PYTHON_DESCRIPTION "Python client of Maru's pools of KV cache chunks
Maru lets the LLM inference workers of a host share one copy of their KV
cache.

This package has the Python packages maru, maru_handler and maru_lmcache, for
Debian's own interpreter and virtual environments with its packages.")
include(CPack)
