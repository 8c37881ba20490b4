// Which keys the running `maructl pin` processes of this user on this host hold, so that `maructl unpin` can end one.
// A pin belongs to the session that took it; another process can only ask its holder to let go.
//
// Operation: a note (file) per pinned key in a directory of the user ($XDG_RUNTIME_DIR, or /tmp), locked by its holder
// while the pin lasts: a note whose lock is free is a leftover. To let a key go, a file is put beside the note and the
// holder gets SIGUSR1; it ends the pin, then removes both.
// Concurrency: one thread; any number of processes.
// Limits: sees this host and this user only, which the sentence of `unpin` says.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/file_lock.hpp"

namespace maru::ctl {

class pin_register {
public:
  // Makes the directory. `io`: it cannot be made, or belongs to somebody else.
  static result<pin_register> open();

  // -- the holder's side
  // Notes a key that this process has pinned at `server`.
  status add(const std::string& server, const std::string& key);
  // Keys of this process that somebody wants let go.
  std::vector<std::string> asked_for() const;
  // The pin of `key` has ended: whoever asked for it learns that.
  void ended(const std::string& key);
  bool empty() const { return held_.empty(); }
  // Removes the notes of this process.
  ~pin_register();
  pin_register(pin_register&&) noexcept = default;
  pin_register& operator=(pin_register&&) = delete;

  // -- the asker's side
  // Asks the holders of `key` at `server` to let go and waits until they did. `not_pinned`: nobody here holds it.
  // `timeout`: a holder did not react.
  status let_go(const std::string& server, const std::string& key);

private:
  struct note {
    std::string key, path;
    file_lock lock;
  };

  explicit pin_register(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
  std::vector<note> held_;
};

}  // namespace maru::ctl
