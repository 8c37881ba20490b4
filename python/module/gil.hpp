// Leaving Python's lock for the time of a blocking call, and the end of the process.
#pragma once

#include <Python.h>

#include <atomic>
#include <exception>
#include <utility>

namespace maru::python {

// How many threads are in a call without the GIL or take a client down: the exit of the process waits for them.
extern std::atomic<int> threads_away;

// Counts this thread as away as long as it lives.
class away {
public:
  away() { ++threads_away; }
  ~away() { --threads_away; }
  away(const away&) = delete;
  away& operator=(const away&) = delete;
};

// Runs `f` without the GIL. REQUIRES: the GIL is held; `f` touches nothing of Python's.
// Not a guard object: in a daemon thread of a process that ends, taking the GIL back unwinds the thread, which must not
// happen in a destructor.
template <class F>
auto without_gil(F&& f) {
  away counted;
  auto* state = PyEval_SaveThread();
  try {
    auto out = std::forward<F>(f)();
    PyEval_RestoreThread(state);
    return out;
  } catch (const std::exception&) {
    PyEval_RestoreThread(state);
    throw;
  }
}

// Waits until no other thread is away, for at most two seconds. The caller need not have the GIL, but must not keep
// others from it.
void wait_for_threads_away();

// Has the end of the process wait for clients that are being taken down, and a forked child start to count anew.
void prepare_exit();

}  // namespace maru::python
