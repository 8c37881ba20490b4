// A machine made of files: the parts of sysfs and procfs that tell of memory, below a temporary folder.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temp_folder.hpp"

namespace maru::cxl {

class fake_machine {
public:
  const std::filesystem::path& root() const { return folder_.path(); }

  void write(const std::string& path, const std::string& text) const {
    auto file = root() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream{file} << text;
  }
  void link(const std::string& path, const std::string& target) const {
    auto at = root() / path;
    std::filesystem::create_directories(at.parent_path());
    std::filesystem::create_symlink(target, at);
  }

  // A device as the kernel shows one: a folder below who made it, linked from the bus. `driver` empty: none.
  void add_dax(const std::string& name, const std::string& above, const std::string& size, const std::string& driver,
               const std::string& node = "1") const {
    auto device = "sys/devices/" + above + "/" + name;
    write(device + "/size", size + "\n");
    write(device + "/align", "2097152\n");
    write(device + "/target_node", node + "\n");
    write(device + "/mapping", "");
    if (!driver.empty())
      link(device + "/driver", "../../../bus/dax/drivers/" + driver);
    link("sys/bus/dax/devices/" + name, "../../../../" + device);
  }
  void add_range(const std::string& device, int number, const std::string& start, const std::string& end,
                 const std::string& page_offset) const {
    auto range = "sys/devices/" + device + "/mapping" + std::to_string(number);
    write(range + "/start", start + "\n");
    write(range + "/end", end + "\n");
    write(range + "/page_offset", page_offset + "\n");
  }

  void add_node(int id, const std::string& cpus, const std::string& kib, const std::string& distances) const {
    auto node = "sys/devices/system/node/node" + std::to_string(id);
    auto prefix = "Node " + std::to_string(id);
    write(node + "/cpulist", cpus + "\n");
    write(node + "/meminfo", prefix + " MemTotal:  " + kib + " kB\n" + prefix + " MemFree:  1024 kB\n");
    write(node + "/distance", distances + "\n");
  }

  void add_huge_pages(const std::string& kib, const std::string& total, const std::string& free,
                      const std::string& promised) const {
    auto folder = "sys/kernel/mm/hugepages/hugepages-" + kib + "kB";
    write(folder + "/nr_hugepages", total + "\n");
    write(folder + "/free_hugepages", free + "\n");
    write(folder + "/resv_hugepages", promised + "\n");
  }

  // One line of mountinfo; the folder is made, so that it can be asked for its space.
  void add_mount(const std::string& path, const std::string& type, const std::string& source,
                 const std::string& options, const std::string& device = "0:30") {
    mounts_ +=
      "40 1 " + device + " / " + path + " rw,relatime shared:7 - " + type + " " + source + " " + options + "\n";
    write("proc/self/mountinfo", mounts_);
    std::filesystem::create_directories(root() / path.substr(1));
  }

private:
  test::temp_folder folder_;
  std::string mounts_;
};

}  // namespace maru::cxl
