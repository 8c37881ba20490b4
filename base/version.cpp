#include "base/version.hpp"

namespace maru {

std::string_view version() { return MARU_VERSION; }

std::string_view revision() { return MARU_REVISION; }

}  // namespace maru
