// Settings that come from the environment where nothing else gave them.
#pragma once

#include <cstdlib>
#include <string>

namespace maru {

// `given`, or where that is empty the variable's value. Limits: no other thread may change the environment meanwhile
// (getenv(3)), so a library asks on its caller's thread only.
inline std::string or_variable(std::string given, const char* name) {
  const char* value = given.empty() ? std::getenv(name) : nullptr;
  return value ? value : given;
}

}  // namespace maru
