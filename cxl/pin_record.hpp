// Which keys a session has pinned, written by its worker into the session's own file (the one whose lock proves that the
// worker lives), so that a marud that starts again knows it without asking: the worker may be stopped, or know of the
// session as one that is over, and still copy from what the pins cover.
//
// Form: an array of 32-byte slots of four words: key hash (low, high), and for a view's pin page (region in the high half)
// and generation, else zeros. A slot whose first word is 0 is free. No header: an empty file holds no pins.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bounds.hpp"
#include "base/error.hpp"
#include "base/types.hpp"

namespace maru::cxl {

// The worker's side: plain stores into its mapping of the file, which a kill at any instant leaves readable.
// Concurrency: one thread at a time.
// Limits: bounds::pins_max pins. The file takes its storage step by step, ahead of the stores, the first 2048 pins' at its
// open; where there is none left add() says so, and that pin is known to marud only as long as it runs, or once the worker
// resumes: a full file system must not keep workers out.
class pin_record {
public:
  // The file must be there; what it holds is dropped. `io`: it cannot be opened or mapped.
  static result<std::unique_ptr<pin_record>> open(const std::string& path);
  ~pin_record();
  pin_record(const pin_record&) = delete;

  static constexpr std::uint32_t none = UINT32_MAX;
  // The slot that holds the pin from now on; `none` where there is no room.
  std::uint32_t add(const pin_id& pin);
  // REQUIRES: a slot that add() gave and that was not dropped since, or `none`.
  void drop(std::uint32_t slot);

private:
  pin_record(int fd, std::uint64_t* words) : fd_(fd), words_(words) {}
  bool grow();
  std::atomic_ref<std::uint64_t> word(std::uint32_t slot, std::size_t n) {
    return std::atomic_ref{words_[4 * std::size_t{slot} + n]};
  }

  int fd_;
  std::uint64_t* words_;
  std::uint32_t slots_ = 0;  // with storage
  std::uint32_t used_ = 0;   // below this, slots were used once
  std::vector<std::uint32_t> free_;
};

// marud's side: the pins in a session's file, each once. Empty where it cannot be read; at most bounds::pins_max.
std::vector<pin_id> read_pin_record(const std::string& path);

}  // namespace maru::cxl
