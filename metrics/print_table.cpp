// Prints docs/metrics.md.
#include <cstdio>

#include "metrics/table.hpp"

int main() {
  std::fputs(maru::metrics::markdown().c_str(), stdout);
  return 0;
}
