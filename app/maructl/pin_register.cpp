#include "app/maructl/pin_register.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "app/maructl/key_text.hpp"
#include "base/hex.hpp"
#include "base/uuid.hpp"

namespace maru::ctl {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

constexpr auto let_go_max = 5s;
constexpr auto look_again = 5ms;
constexpr auto note_suffix = ".pin";
constexpr auto asked_suffix = ".let-go";

std::string folder_of_user() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/')
    return std::string{runtime} + "/maructl";
  return "/tmp/maructl-" + std::to_string(::getuid());
}

// The process that a file's name starts with; 0 where it is not such a name.
pid_t holder_of(const std::string& name) {
  pid_t pid = 0;
  std::from_chars(name.data(), name.data() + name.size(), pid);
  return pid;
}

std::string contents(const std::string& server, const std::string& key) { return server + "\n" + to_hex(key) + "\n"; }

std::string read_whole(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>(in), {}};
}

bool held(const std::string& path) { return file_lock::acquire(path).code() == ec::in_use; }

bool there(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

void remove_note(const std::string& path) {
  ::unlink((path + asked_suffix).c_str());
  ::unlink(path.c_str());
}

}  // namespace

result<pin_register> pin_register::open() {
  auto folder = folder_of_user();
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return errno_error("make folder " + folder, errno);
  struct stat facts {};
  if (::lstat(folder.c_str(), &facts) != 0)
    return errno_error("look at folder " + folder, errno);
  if (!S_ISDIR(facts.st_mode) || facts.st_uid != ::getuid() || (facts.st_mode & 077) != 0)
    return {ec::io, "failed to use folder " + folder + ": it is not a folder that only this user can enter"};
  return pin_register{folder};
}

pin_register::~pin_register() {
  for (const auto& n : held_)
    remove_note(n.path);
}

status pin_register::add(const std::string& server, const std::string& key) {
  note n;
  n.key = key;
  n.path = folder_ + "/" + std::to_string(::getpid()) + "-" + std::to_string(random_u64()) + note_suffix;
  auto lock = file_lock::acquire(n.path);
  if (!lock)
    return lock.error();
  n.lock = *std::move(lock);
  std::ofstream out{n.path, std::ios::binary};
  if (!(out << contents(server, key) << std::flush))
    return {ec::io, "failed to write " + n.path};
  held_.push_back(std::move(n));
  return {};
}

std::vector<std::string> pin_register::asked_for() const {
  std::vector<std::string> keys;
  for (const auto& n : held_)
    if (there(n.path + asked_suffix))
      keys.push_back(n.key);
  return keys;
}

void pin_register::ended(const std::string& key) {
  auto n = std::find_if(held_.begin(), held_.end(), [&](const note& x) { return x.key == key; });
  if (n == held_.end())
    return;
  remove_note(n->path);
  held_.erase(n);
}

status pin_register::let_go(const std::string& server, const std::string& key) {
  auto wanted = contents(server, key);
  std::vector<std::string> asked;
  std::error_code failed;
  for (const auto& file : fs::directory_iterator{folder_, failed}) {
    auto path = file.path().string();
    auto pid = holder_of(file.path().filename().string());
    if (pid <= 0 || file.path().extension() != note_suffix || read_whole(path) != wanted)
      continue;
    if (!held(path)) {
      remove_note(path);
      continue;
    }
    std::ofstream{path + asked_suffix}.flush();
    if (::kill(pid, SIGUSR1) == 0)
      asked.push_back(path);
  }
  if (asked.empty())
    return {ec::not_pinned,
            "failed to unpin " + show_key(key) + ": no running `maructl pin` of this user on this host holds it"};
  auto deadline = std::chrono::steady_clock::now() + let_go_max;
  for (const auto& path : asked)
    while (there(path)) {
      if (std::chrono::steady_clock::now() > deadline)
        return {ec::timeout, "failed to unpin " + show_key(key) + ": its holder did not let go"};
      std::this_thread::sleep_for(look_again);
    }
  return {};
}

}  // namespace maru::ctl
