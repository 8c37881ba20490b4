// One enumeration of everything that can go wrong, and `result<T>`: a value or an error with its context.
// No exception crosses a folder border.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace maru {

// Codes travel in messages and are documented for callers: add at the end, never renumber.
enum class ec : std::uint8_t {
  ok = 0,
  missing,           // the key (or page, or region) is not there
  exists,            // the key was committed before: first commit wins
  pinned,            // the entry is pinned and stays
  not_pinned,        // this session holds no pin on the key
  gone,              // the page's generation moved on: the put is over
  not_granted,       // the page is not granted to this session
  busy,              // a bound on concurrent work is reached: try again
  too_large,         // batch, key, chunk or message over its bound
  invalid,           // a request that makes no sense: empty key, malformed blob, unknown flag
  out_of_memory,     // no page is free and nothing can be evicted
  session_over,      // the session has ended: open a new one
  version_mismatch,  // client and server speak different protocol versions
  refused,           // wrong token, or the door is closed
  timeout,           // no answer before the deadline
  unavailable,       // no connection to marud
  stopping,          // marud is shutting down
  io,                // a system call on a device, file or socket failed
  in_use,            // pool, state directory or port is taken by another process
  unknown_contents,  // the device holds something that is not this pool
  no_space,          // the device or file system is too small
  corrupt,           // stored bytes do not check out
  storage_failed,    // RocksDB refused a read or a write
  bad_option,        // a command line or configuration value is not usable
  memory_failed,     // the memory of a page failed: what was in it is lost, nothing else is; store the chunk again
  last_ = memory_failed,
};

// Stable lower-case name of a code: "ok", "missing", ...
std::string_view to_string(ec code);

// A code with the sentence that explains it: "failed to <verb> <object>: <cause>".
struct error {
  ec code = ec::ok;
  std::string message;
};

// "<code>: <message>"
std::string to_string(const error& e);

// `failed to <what>: <strerror(errnum)>` with code `io`.
error errno_error(std::string_view what, int errnum);

// A T or an error. Test with operator bool before *.
template <class T>
class [[nodiscard]] result {
public:
  result(T value) : value_(std::move(value)) {}
  result(maru::error e) : value_(std::move(e)) {}
  result(ec code, std::string message) : value_(maru::error{code, std::move(message)}) {}

  explicit operator bool() const { return value_.index() == 0; }
  T& operator*() & { return std::get<0>(value_); }
  const T& operator*() const& { return std::get<0>(value_); }
  T operator*() && { return std::get<0>(std::move(value_)); }  // a value: a range-for over a temporary must not dangle
  T* operator->() { return &std::get<0>(value_); }
  const T* operator->() const { return &std::get<0>(value_); }
  const maru::error& error() const { return std::get<1>(value_); }
  ec code() const { return *this ? ec::ok : error().code; }

private:
  std::variant<T, maru::error> value_;
};

template <>
class [[nodiscard]] result<void> {
public:
  result() = default;
  result(maru::error e) : error_(std::move(e)) {}
  result(ec code, std::string message) : error_{code, std::move(message)} {}

  explicit operator bool() const { return error_.code == ec::ok; }
  const maru::error& error() const { return error_; }
  ec code() const { return error_.code; }

private:
  maru::error error_;
};

using status = result<void>;

}  // namespace maru
