// Huge pages that the kernel has set aside, of each size: what files on hugetlbfs are made of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace maru::cxl {

struct huge_page_pool {
  std::uint64_t page_bytes = 0;
  std::uint64_t total = 0;      // pages
  std::uint64_t available = 0;  // pages: free, and promised to nobody
};

// By size, as the sysfs below `root` has them; sizes of which there is no page, too.
std::vector<huge_page_pool> huge_page_pools(const std::filesystem::path& root);

}  // namespace maru::cxl
