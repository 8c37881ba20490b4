#include "python/module/gil.hpp"

#include <pthread.h>

#include <chrono>
#include <thread>

namespace maru::python {

using namespace std::chrono_literals;

std::atomic<int> threads_away{0};

void wait_for_threads_away() {
  auto until = std::chrono::steady_clock::now() + 2s;
  while (threads_away > 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(1ms);
}

void prepare_exit() {
  Py_AtExit(wait_for_threads_away);
  pthread_atfork(nullptr, nullptr, [] { threads_away = 0; });
}

}  // namespace maru::python
