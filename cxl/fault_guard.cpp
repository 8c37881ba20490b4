#include "cxl/fault_guard.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <optional>

namespace maru::cxl {

namespace {

using bits = std::atomic<std::uint64_t>;
constexpr std::size_t bits_per_word = 64;
static_assert(bits::is_always_lock_free && std::atomic<void*>::is_always_lock_free);  // the handler uses them

std::uintptr_t address_of(const void* at) { return reinterpret_cast<std::uintptr_t>(at); }

}  // namespace

// A place in the table. `version` is odd while the place changes its owner; who looks at one that changes passes it over: it
// is not the place of memory that somebody may touch.
struct fault_guard::range {
  std::atomic<bool> taken{false};
  std::atomic<std::uint32_t> version{0};
  std::atomic<std::uintptr_t> begin{0}, end{0};  // 0: nobody's
  std::atomic<std::size_t> unit{1};
  std::atomic<std::size_t> faults{0};  // 0: no unit failed
  std::atomic<survives> which{survives::every_touch};
  std::atomic<bits*> failed{nullptr};  // a bit a unit

  struct shape {
    std::uintptr_t begin = 0, end = 0;
    std::size_t unit = 1;
    std::size_t units() const { return (end - begin + unit - 1) / unit; }
  };

  // Empty where there is nobody, or the place changes.
  std::optional<shape> look() const {
    auto before = version.load();
    shape s{begin.load(), end.load(), unit.load()};
    if (before % 2 != 0 || version.load() != before || s.begin == s.end)
      return std::nullopt;
    return s;
  }

  void settle(const shape& s, bits* marks, survives what) {
    ++version;
    begin = s.begin;
    end = s.end;
    unit = s.unit;
    which = what;
    faults = 0;
    failed = marks;
    ++version;
  }

  bool is_marked(std::size_t i) const {
    return (failed.load()[i / bits_per_word].load() >> (i % bits_per_word) & 1) != 0;
  }
  void mark(std::size_t i) {
    ++faults;  // first: another thread may see the bit, and ask before this one goes on
    failed.load()[i / bits_per_word].fetch_or(std::uint64_t{1} << (i % bits_per_word));
  }
};

namespace {

// Blocks are never freed: the handler may be looking at one at any time.
struct block {
  std::array<fault_guard::range, 128> ranges;
  block* next = nullptr;
};
std::atomic<block*> table{nullptr};
std::atomic<std::uint64_t> survived{0};
struct sigaction handler_before = {};
// Of this thread, nested. Of the first sort: an access to another one may allocate, which a handler must not.
[[gnu::tls_model("initial-exec")]] thread_local int looks = 0;

template <class Do>
void for_each_range(Do work) {
  for (auto* b = table.load(); b != nullptr; b = b->next)
    for (auto& r : b->ranges)
      work(r);
}

fault_guard::range& take_place() {
  auto take = [](fault_guard::range& r) { return !r.taken.load() && !r.taken.exchange(true); };
  for (auto* b = table.load(); b != nullptr; b = b->next)
    for (auto& r : b->ranges)
      if (take(r))
        return r;
  auto* made = new block;
  made->ranges.front().taken = true;
  made->next = table.load();
  while (!table.compare_exchange_weak(made->next, made)) {}
  return made->ranges.front();
}

// -- in the handler: nothing here allocates, locks or throws

// Puts other memory in the place of the unit at this address. False where nobody guards it.
bool survive(std::uintptr_t address) {
  std::uintptr_t begin = 0, end = 0;
  for_each_range([&](fault_guard::range& r) {
    auto s = r.look();
    if (!s || address < s->begin || address >= s->end)
      return;
    if (r.which.load() == survives::looks && looks == 0)
      return;
    auto i = (address - s->begin) / s->unit;
    begin = s->begin + i * s->unit;
    end = std::min(begin + s->unit, s->end);
    r.mark(i);  // before the memory changes: who reads zeros finds the mark
  });
  if (begin == end)
    return false;
  ++survived;
  // The system call itself: sanitizers do more in theirs than a handler may.
  auto at = ::syscall(SYS_mmap, begin, end - begin, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  return static_cast<std::uintptr_t>(at) == begin;
}

// What the handler before this one would have done.
void pass_on(int signal, siginfo_t* info, void* context) {
  const auto& before = handler_before;
  if ((before.sa_flags & SA_SIGINFO) != 0)
    return before.sa_sigaction(signal, info, context);
  bool is_touch = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;  // it is made again when this returns
  if (before.sa_handler == SIG_IGN && !is_touch)
    return;
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
    return before.sa_handler(signal);
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(signal, &standard, nullptr);
  if (!is_touch)
    ::raise(signal);
}

void on_sigbus(int signal, siginfo_t* info, void* context) {
  auto errno_before = errno;
  // Only the kernel's word counts: kill() can name any address. A misaligned access is no failure of memory.
  bool of_memory = info->si_code > 0 && info->si_code != BUS_ADRALN;
  if (!of_memory || !survive(address_of(info->si_addr)))
    pass_on(signal, info, context);
  errno = errno_before;
}

bool install() {
  ::sigaction(SIGBUS, nullptr, &handler_before);  // known before the first signal can come here
  struct sigaction ours = {};
  ours.sa_sigaction = on_sigbus;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&ours.sa_mask);
  return ::sigaction(SIGBUS, &ours, nullptr) == 0;
}

bool is_any_marked(const fault_guard::range& r, std::uintptr_t begin, std::uintptr_t end) {
  if (r.faults.load() == 0)
    return false;
  auto s = r.look();
  if (!s || end <= s->begin || begin >= s->end)
    return false;
  if (begin <= s->begin && end >= s->end)
    return true;
  auto last = (std::min(end, s->end) - s->begin - 1) / s->unit;
  for (auto i = (std::max(begin, s->begin) - s->begin) / s->unit; i <= last; ++i)
    if (r.is_marked(i))
      return true;
  return false;
}

}  // namespace

fault_guard::fault_guard(std::span<std::byte> bytes, std::size_t unit, survives what) {
  if (bytes.empty())
    return;
  [[maybe_unused]] static const bool installed = install();
  range::shape s{address_of(bytes.data()), address_of(bytes.data() + bytes.size()), unit};
  // Of a large range this is memory that the kernel gives as it is written to: none before the first failure.
  auto* marks = static_cast<bits*>(std::calloc((s.units() + bits_per_word - 1) / bits_per_word, sizeof(bits)));
  if (marks == nullptr)
    throw std::bad_alloc{};
  range_ = &take_place();
  range_->settle(s, marks, what);
}

fault_guard& fault_guard::operator=(fault_guard&& other) noexcept {
  std::swap(range_, other.range_);
  return *this;
}

fault_guard::~fault_guard() {
  if (range_ == nullptr)
    return;
  auto* marks = range_->failed.load();
  range_->settle({}, nullptr, survives::every_touch);
  std::free(marks);
  range_->taken = false;
}

std::vector<failed_piece> fault_guard::failed() const {
  std::vector<failed_piece> out;
  auto s = range_ == nullptr || range_->faults.load() == 0 ? std::nullopt : range_->look();
  for (std::size_t i = 0; s && i < s->units(); ++i) {
    if (!range_->is_marked(i))
      continue;
    auto offset = i * s->unit;
    auto size = std::min(s->unit, s->end - s->begin - offset);
    if (!out.empty() && out.back().offset + out.back().size == offset)
      out.back().size += size;
    else
      out.push_back({offset, size});
  }
  return out;
}

// The fence keeps the load after the caller's own loads: without it the mark could be looked for before the bytes are.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
bool faulted(std::span<const std::byte> bytes) {
  std::atomic_thread_fence(std::memory_order_acquire);
  if (survived.load(std::memory_order_relaxed) == 0 || bytes.empty()) [[likely]]
    return false;
  auto begin = address_of(bytes.data()), end = begin + bytes.size();
  bool any = false;
  for_each_range([&](const fault_guard::range& r) { any = any || is_any_marked(r, begin, end); });
  return any;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

look::look() { ++looks; }
look::~look() { --looks; }

bool is_sound(std::span<const std::byte> bytes) {
  constexpr std::size_t page_bytes = 4096;  // the kernel takes whole pages away
  look here;
  for (std::size_t at = 0; at < bytes.size(); at += page_bytes)
    (void)*reinterpret_cast<const volatile std::byte*>(bytes.data() + at);
  return !faulted(bytes);
}

std::uint64_t faults_survived() { return survived.load(std::memory_order_relaxed); }

}  // namespace maru::cxl
