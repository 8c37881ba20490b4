// What the fuzz targets share. A target is one function over bytes that a stranger chose, and holds the code under test
// to what its header promises; libFuzzer runs it (preset `fuzz`), and so does run_corpus.cpp on the committed inputs.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/codec.hpp"

namespace maru::fuzz {

// The target. Returns, or ends the process.
void try_input(std::string_view bytes);

// Ends the process with the claim that does not hold.
inline void must(bool holds, const char* claim) {
  if (holds)
    return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

// All that `in` has left.
inline std::string_view rest(reader& in) { return in.bytes(in.remaining()); }

}  // namespace maru::fuzz
