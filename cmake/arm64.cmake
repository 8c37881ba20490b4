# Toolchain of scripts/test-arm: Debian's cross compiler, libraries of arm64 from $MARU_ARM_ROOT, and an emulator.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L /usr/aarch64-linux-gnu)

set(CMAKE_FIND_ROOT_PATH $ENV{MARU_ARM_ROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} $ENV{MARU_ARM_ROOT})
set(ENV{PKG_CONFIG_LIBDIR} $ENV{MARU_ARM_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:$ENV{MARU_ARM_ROOT}/usr/share/pkgconfig)
