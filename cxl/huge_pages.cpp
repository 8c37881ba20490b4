#include "cxl/huge_pages.hpp"

#include <algorithm>
#include <string_view>

#include "base/size.hpp"
#include "cxl/kernel_files.hpp"

namespace maru::cxl {

std::vector<huge_page_pool> huge_page_pools(const std::filesystem::path& root) {
  constexpr std::string_view prefix = "hugepages-";  // "hugepages-2048kB", of 1024 bytes
  auto folder = root / "sys/kernel/mm/hugepages";
  std::vector<huge_page_pool> pools;
  for (const auto& name : names_in(folder, prefix)) {
    auto kib = std::string_view{name}.substr(prefix.size());
    auto bytes = parse_size(std::string{kib.substr(0, kib.find('k'))} + "KiB");
    if (!bytes)
      continue;
    auto free = read_number(folder / name / "free_hugepages").value_or(0);
    auto promised = read_number(folder / name / "resv_hugepages").value_or(0);
    pools.push_back({*bytes, read_number(folder / name / "nr_hugepages").value_or(0), free - std::min(free, promised)});
  }
  return pools;
}

}  // namespace maru::cxl
