// Who takes a client down.
#pragma once

#include <memory>

#include "net/client.hpp"

namespace maru::python {

// The same client, for owners that may be collected on any thread: letting the last of them go does not wait. The
// client is taken down, which joins threads and tells marud, by a thread of its own.
// REQUIRES: views and pages of the client go before the owner that was kept beside them.
std::shared_ptr<client> keep(std::shared_ptr<client> c);

}  // namespace maru::python
