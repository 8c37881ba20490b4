#include "app/bench/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace maru::bench {

namespace {

constexpr int bar_width = 30;

}  // namespace

progress::progress(std::string what, std::uint64_t total)
    : what_(std::move(what)),
      total_(std::max<std::uint64_t>(total, 1)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()) {}

progress::~progress() {
  if (terminal_ && drawn_)
    std::fputc('\n', stderr);
}

void progress::update(std::uint64_t done, const std::string& note) {
  done = std::min(done, total_);
  auto percent = static_cast<int>(done * 100 / total_);
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  if (terminal_) {
    int filled = percent * bar_width / 100;
    std::string bar(static_cast<std::size_t>(filled), '#');
    bar.resize(bar_width, '.');
    double left = done == 0 ? 0 : seconds * static_cast<double>(total_ - done) / static_cast<double>(done);
    std::fprintf(stderr, "\r\033[K%s [%s] %3d %%  %llu/%llu  %s  %.0f s left", what_.c_str(), bar.c_str(), percent,
                 static_cast<unsigned long long>(done), static_cast<unsigned long long>(total_), note.c_str(), left);
    std::fflush(stderr);
    drawn_ = true;
    return;
  }
  if (percent / 10 > last_tenth_) {
    last_tenth_ = percent / 10;
    std::fprintf(stderr, "%s: %d %% after %.1f s%s%s\n", what_.c_str(), last_tenth_ * 10, seconds,
                 note.empty() ? "" : ", ", note.c_str());
  }
}

}  // namespace maru::bench
