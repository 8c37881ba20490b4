// What to do with memory of each kind: the options by which marud serves it, or what has to be done before.
#pragma once

#include <string>

#include "cxl/device_catalog.hpp"

namespace maru::ctl {

struct advice {
  std::string options;  // of marud: "--pool=/dev/dax0.0"; empty: none fit as it is
  std::string first;    // a command, or a sentence, that makes it usable; empty: nothing to do
};

advice advise(const cxl::dax_device& device);
advice advise(const cxl::pmem_disk& disk);
advice advise(const cxl::memory_mount& mount);
// Of huge pages that no mount shows.
advice advise(const cxl::huge_page_pool& pool);
// `shm`: a tmpfs in which a file may be bound to the node; empty: there is none.
advice advise(const cxl::numa_node& node, const std::string& shm);

// The command that gives a device of the dax bus back to whoever maps it.
std::string to_devdax_mode(const cxl::dax_device& device);

}  // namespace maru::ctl
