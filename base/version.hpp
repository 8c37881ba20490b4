// The version of this build.
#pragma once

#include <string_view>

namespace maru {

// "0.1.0", from the project() line of the top CMakeLists.txt.
std::string_view version();

// The commit it was built from, short; "unknown" outside a git checkout.
std::string_view revision();

}  // namespace maru
