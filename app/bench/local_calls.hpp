// The operations of `maru-bench local`, over the client library.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "app/bench/local_loop.hpp"
#include "base/error.hpp"
#include "net/client.hpp"

namespace maru::bench {

struct local_op {
  const char* name;
  bool absent;  // of keys that are not there
};
inline constexpr std::array<local_op, 5> local_ops = {
  {{"retrieve+drop", false}, {"lookup", false}, {"exists", false}, {"miss", true}, {"pin+unpin", false}}};

// The first of the problems that threads report, as text. From any thread.
class first_problem {
public:
  void note(const error& e);
  std::string text() const;

private:
  mutable std::mutex mutex_;
  std::string text_;
};

// `retrieve+drop` of one key is client::retrieve, of more retrieve_batch; the views are let go in the call. `problem`
// is told of calls that fail. Both arguments outlive the call.
loop_call call_of(const local_op& op, client& pool, first_problem& problem);

}  // namespace maru::bench
