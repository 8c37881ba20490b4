// Goal: the inputs committed for a target, and what once broke it, stay good in every build, and the targets compile.
// Method: a target's main without libFuzzer: each file of the given folder, each prefix of it, and it with each byte
// changed in turn.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include "tests/fuzz/fuzz.hpp"

namespace {

constexpr std::size_t changed_bytes_max = 2048;  // of one file

// In a block of exactly its size, so that AddressSanitizer sees a read past the end.
void try_copy(const std::vector<char>& bytes, std::size_t size) {
  std::vector<char> copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  maru::fuzz::try_input({copy.data(), copy.size()});
}

void try_file(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::vector<char> bytes{std::istreambuf_iterator<char>{in}, {}};
  maru::fuzz::must(in.good() || in.eof(), "a file of the corpus can be read");
  try_copy(bytes, bytes.size());
  auto n = std::min(bytes.size(), changed_bytes_max);
  for (std::size_t i = 0; i < n; ++i) {
    try_copy(bytes, i);
    for (char mask : {'\x01', '\x80', '\xff'}) {
      bytes[i] = static_cast<char>(bytes[i] ^ mask);
      try_copy(bytes, bytes.size());
      bytes[i] = static_cast<char>(bytes[i] ^ mask);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || !std::filesystem::is_directory(argv[1])) {
    std::cerr << "usage: " << argv[0] << " FOLDER\n";
    return 2;
  }
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator{argv[1]}) {
    std::cout << entry.path().filename().string() << std::endl;  // flushed: the last line names what broke it
    try_file(entry.path());
    ++files;
  }
  std::cout << files << " files\n";
  return files > 0 ? 0 : 1;
}
