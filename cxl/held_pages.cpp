#include "cxl/held_pages.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/bounds.hpp"
#include "base/kill_point.hpp"
#include "base/size.hpp"
#include "base/thread_number.hpp"

namespace maru::cxl {

namespace {

constexpr std::size_t word_bytes = sizeof(std::uint64_t);

// The level and line of a slot's number, and its place in the line.
struct slot_place {
  std::size_t level, line, slot;
};

slot_place place_of(std::uint32_t at) {
  auto line = at / held_pages_file::slots_per_line;
  std::size_t level = 0;
  for (; line >= held_pages_file::level_lines(level); ++level)
    line -= static_cast<std::uint32_t>(held_pages_file::level_lines(level));
  return {level, line, at % held_pages_file::slots_per_line};
}

// Mapped whole at once: no address changes as the file grows, and nothing beyond its end is touched. In units that
// hugetlbfs takes, too.
std::size_t mapped_bytes() {
  return align_up(held_pages_file::file_bytes(held_pages_file::levels_max), bounds::layout_align);
}

}  // namespace

std::size_t held_pages_file::line_of(page_ref page, std::size_t level) {
  constexpr int bits_first = 9;
  static_assert(lines_first == std::size_t{1} << bits_first);
  return (packed(page) * 0x9e3779b97f4a7c15ull) >> (64 - bits_first - static_cast<int>(level));
}

// -- the worker

result<std::unique_ptr<held_pages>> held_pages::open(const std::string& path) {
  auto what = "open session file " + path;
  // Whoever says that he is marud names the path: no other file than a session's may lose its contents here.
  unique_fd fd{::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
  struct stat file = {};
  if (!fd)
    return errno_error(what, errno);
  if (::fstat(fd.get(), &file) != 0 || !S_ISREG(file.st_mode) || file.st_nlink > 1)
    return {ec::unknown_contents, "failed to " + what + ": it is no file of a session"};
  void* at = MAP_FAILED;
  if (::ftruncate(fd.get(), 0) == 0)
    at = ::mmap(nullptr, mapped_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED)
    return errno_error(what, errno);
  ::madvise(at, mapped_bytes(), MADV_DONTFORK);
  std::unique_ptr<held_pages> made{new held_pages{std::move(fd), static_cast<std::byte*>(at)}};
  (void)made->grow(1);
  return made;
}

held_pages::held_pages(unique_fd fd, std::byte* memory)
    : fd_(std::move(fd)), memory_(memory), guards_(std::make_unique<std::array<line_guard, lines_first>>()) {}

held_pages::~held_pages() { ::munmap(memory_, mapped_bytes()); }

std::atomic_ref<std::uint64_t> held_pages::word(std::size_t offset) const {
  return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(memory_ + offset)};
}

std::atomic_ref<std::uint64_t> held_pages::slot_word(position at) const {
  auto [level, line, slot] = place_of(at);
  return word(level_offset(level) + line * line_bytes + slot * word_bytes);
}

std::uint32_t& held_pages::count_of(position at) const {
  auto [level, line, slot] = place_of(at);
  return counts_[level][line * slots_per_line + slot];
}

bool held_pages::grow(std::size_t levels) {
  std::lock_guard lock{grow_mutex_};
  auto have = levels_.load(std::memory_order_relaxed);
  if (have >= levels)
    return true;
  // Storage first: a store to a page of a full tmpfs would kill the worker with SIGBUS.
  auto from = have == 0 ? 0 : file_bytes(have);
  if (levels > levels_max
      || ::posix_fallocate(fd_.get(), static_cast<off_t>(from), static_cast<off_t>(file_bytes(levels) - from)) != 0)
    return false;
  counts_[levels - 1] = std::make_unique<std::uint32_t[]>(level_lines(levels - 1) * slots_per_line);
  word(levels_at).store(levels, std::memory_order_release);
  levels_.store(levels, std::memory_order_release);
  return true;
}

void held_pages::write_nonce(const uuid& nonce) {
  if (levels_.load() == 0)
    return;
  std::uint64_t halves[2];
  std::memcpy(halves, nonce.bytes.data(), sizeof halves);
  word(nonce_at).store(halves[0], std::memory_order_relaxed);
  word(nonce_at + word_bytes).store(halves[1], std::memory_order_seq_cst);
}

held_pages::position held_pages::find(const page_hold& hold) {
  auto wanted = hold.word();
  auto free = none;
  std::size_t before = 0;
  for (std::size_t level = 0; level < levels_.load(std::memory_order_acquire); ++level) {
    auto line = line_of(hold.page, level);
    auto first = static_cast<position>((before + line) * slots_per_line);
    auto offset = level_offset(level) + line * line_bytes;
    for (std::uint32_t i = 0; i < slots_per_line; ++i) {
      auto found = word(offset + i * word_bytes).load(std::memory_order_relaxed);
      if (found == wanted)
        return first + i;
      if (found == 0 && free == none)
        free = first + i;
    }
    before += level_lines(level);
    if (free == none && level + 1 == levels_.load(std::memory_order_acquire) && level + 1 < levels_max)
      (void)grow(level + 2);
  }
  return free;
}

held_pages::position held_pages::add(const page_hold& hold) {
  std::lock_guard lock{guard_of(hold.page)};
  auto at = find(hold);
  if (at == none)
    return none;
  if (count_of(at)++ == 0)
    slot_word(at).store(hold.word(), std::memory_order_seq_cst);
  return at;
}

held_pages::position held_pages::pin(const page_hold& hold, std::atomic_ref<std::uint64_t> state,
                                     std::uint64_t expected) {
  std::lock_guard lock{guard_of(hold.page)};
  auto at = find(hold);
  if (at == none)
    return none;
  auto& count = count_of(at);
  // Where the slot has the page already, what is left is to look at the page's state.
  bool taken = count > 0 ? state.load(std::memory_order_seq_cst) == expected
                         : take_pin(slot_word(at), hold.word(), state, expected);
  if (!taken)
    return refused;
  ++count;
  kill_point(kill_at::pin_checked);
  return at;
}

void held_pages::drop(position at) {
  if (at == none)
    return;
  auto slot = slot_word(at);
  std::lock_guard lock{guard_of(page_hold::of(slot.load(std::memory_order_relaxed)).page)};
  auto& count = count_of(at);
  if (count > 0 && --count == 0)
    end_pin(slot);
}

void held_pages::append(std::span<const std::uint32_t> entries) {
  if (levels_.load(std::memory_order_relaxed) == 0)
    return;
  auto from = word(log_head_at).fetch_add(entries.size(), std::memory_order_relaxed);
  auto* log = reinterpret_cast<std::uint32_t*>(memory_ + header_bytes);
  for (std::size_t i = 0; i < entries.size(); ++i)
    std::atomic_ref{log[(from + i) % log_entries]}.store(entries[i], std::memory_order_relaxed);
}

void held_pages::log_use(std::span<const std::uint64_t> slots) {
  std::array<std::uint32_t, 256> some;
  for (std::size_t at = 0; at < slots.size(); at += some.size()) {
    auto n = std::min(some.size(), slots.size() - at);
    for (std::size_t i = 0; i < n; ++i)
      some[i] = static_cast<std::uint32_t>(slots[at + i] + 1) & ~dropped_bit;
    append({some.data(), n});
  }
}

void held_pages::log_drop(std::uint64_t slot) {
  auto entry = static_cast<std::uint32_t>(slot + 1) | dropped_bit;
  append({&entry, 1});
}

void held_pages::log_request() {
  std::uint32_t entry = 0;
  append({&entry, 1});
}

void held_pages::count(const local_counts& more) {
  if (levels_.load(std::memory_order_relaxed) == 0)
    return;
  auto at = counters_at + thread_number() % counter_lines * line_bytes;
  for (auto n : {more.hits, more.misses, more.asked, more.damaged}) {
    if (n > 0)
      word(at).fetch_add(n, std::memory_order_relaxed);
    at += word_bytes;
  }
}

// -- marud

result<held_pages_reader> held_pages_reader::open(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (!fd)
    return errno_error("open session file " + path, errno);
  return held_pages_reader{std::move(fd)};
}

bool held_pages_reader::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    auto n = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return false;
    if (n == 0) {
      std::memset(out.data(), 0, out.size());
      return true;
    }
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return true;
}

std::uint64_t held_pages_reader::word(std::uint64_t offset) const {
  std::uint64_t value = 0;
  return read(offset, std::as_writable_bytes(std::span{&value, 1})) ? value : 0;
}

bool held_pages_reader::has_nonce(const uuid& nonce) const {
  uuid found;
  return read(nonce_at, std::as_writable_bytes(std::span{found.bytes})) && found == nonce;
}

bool held_pages_reader::look_up(std::span<const page_ref> pages, std::span<kinds> out) const {
  // A line costs a system call; so many of them cost as much as the whole level.
  constexpr std::size_t lines_worth_a_level = 16;
  std::uint64_t levels = 0;
  if (!read(levels_at, std::as_writable_bytes(std::span{&levels, 1})))
    return false;
  std::vector<std::uint64_t> words;
  for (std::size_t level = 0; level < std::min<std::uint64_t>(levels, levels_max); ++level) {
    bool whole = pages.size() * lines_worth_a_level > level_lines(level);
    words.resize((whole ? level_lines(level) : 1) * slots_per_line);
    if (whole && !read(level_offset(level), std::as_writable_bytes(std::span{words})))
      return false;
    for (std::size_t i = 0; i < pages.size(); ++i) {
      auto line = line_of(pages[i], level);
      if (!whole && !read(level_offset(level) + line * line_bytes, std::as_writable_bytes(std::span{words})))
        return false;
      for (std::size_t n = 0; n < slots_per_line; ++n) {
        auto hold = page_hold::of(words[(whole ? line * slots_per_line : 0) + n]);
        if (hold.page == pages[i])
          (hold.by_view ? out[i].by_view : out[i].by_key) = true;
      }
    }
  }
  return true;
}

std::vector<page_hold> held_pages_reader::all() const {
  std::vector<page_hold> out;
  auto levels = std::min<std::uint64_t>(word(levels_at), levels_max);
  std::vector<std::uint64_t> words;
  for (std::size_t level = 0; level < levels; ++level) {
    words.resize(level_lines(level) * slots_per_line);
    if (!read(level_offset(level), std::as_writable_bytes(std::span{words})))
      break;
    for (auto w : words)
      if (w != 0)
        out.push_back(page_hold::of(w));
  }
  return out;
}

std::vector<std::uint64_t> held_pages_reader::uses_since(std::uint64_t& cursor, std::size_t max) const {
  std::vector<std::uint64_t> out;
  auto head = word(log_head_at);
  // Half of the log is what a worker may be overwriting meanwhile.
  auto most = std::min<std::uint64_t>(max, log_entries / 2);
  auto from = cursor <= head && head - cursor <= most ? cursor : head - std::min(head, most);
  cursor = head;
  std::vector<std::uint32_t> entries(head - from);
  for (std::size_t at = 0; at < entries.size();) {
    auto begin = (from + at) % log_entries;
    auto n = std::min<std::size_t>(entries.size() - at, log_entries - begin);
    if (!read(header_bytes + begin * sizeof(std::uint32_t), std::as_writable_bytes(std::span{entries}.subspan(at, n))))
      return {};
    at += n;
  }
  std::size_t run = 0;  // where the run of dropped views began, in `out`
  bool in_run = false;
  auto end_run = [&] {
    if (in_run)
      std::reverse(out.begin() + static_cast<std::ptrdiff_t>(run), out.end());
    in_run = false;
  };
  for (auto entry : entries) {
    bool dropped = (entry & dropped_bit) != 0;
    if (!dropped)
      end_run();
    else if (!std::exchange(in_run, true))
      run = out.size();
    if (auto slot = entry & ~dropped_bit; slot != 0)
      out.push_back(slot - 1);
  }
  end_run();
  return out;
}

local_counts held_pages_reader::counts() const {
  std::array<std::uint64_t, counter_lines * line_bytes / word_bytes> words{};
  local_counts out;
  if (!read(counters_at, std::as_writable_bytes(std::span{words})))
    return out;
  for (std::size_t at = 0; at < words.size(); at += line_bytes / word_bytes) {
    out.hits += words[at];
    out.misses += words[at + 1];
    out.asked += words[at + 2];
    out.damaged += words[at + 3];
  }
  return out;
}

}  // namespace maru::cxl
