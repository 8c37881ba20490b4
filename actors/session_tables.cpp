#include "actors/session_tables.hpp"

#include <unistd.h>

#include <mutex>

#include "cxl/pin_handshake.hpp"

namespace maru::actors {

status session_tables::add(session_id session, const std::string& path) {
  auto opened = cxl::held_pages_reader::open(path);
  if (!opened)
    return opened.error();
  std::unique_lock lock{mutex_};
  tables_[session] = std::make_shared<const cxl::held_pages_reader>(*std::move(opened));
  return {};
}

status session_tables::add_known(session_id session, const std::string& path) {
  auto added = add(session, path);
  if (!added && ::access(path.c_str(), F_OK) == 0) {
    std::unique_lock lock{mutex_};
    tables_[session] = std::make_shared<const cxl::held_pages_reader>(cxl::held_pages_reader::unreadable());
  }
  return added;
}

void session_tables::remove(session_id session) {
  std::unique_lock lock{mutex_};
  tables_.erase(session);
}

session_tables::table session_tables::find(session_id session) const {
  std::shared_lock lock{mutex_};
  auto at = tables_.find(session);
  return at == tables_.end() ? nullptr : at->second;
}

std::vector<std::pair<session_id, session_tables::table>> session_tables::all() const {
  std::shared_lock lock{mutex_};
  return {tables_.begin(), tables_.end()};
}

std::size_t session_tables::holders(page_ref page) const {
  std::size_t n = 0;
  std::shared_lock lock{mutex_};
  for (const auto& [session, file] : tables_) {
    hold held;
    n += file->look_up(std::span{&page, 1}, std::span{&held, 1}) && held.any() ? 1 : 0;
  }
  return n;
}

std::vector<session_tables::hold> session_tables::held(std::span<const page_ref> pages) const {
  std::vector<hold> out(pages.size());
  if (pages.empty())
    return out;
  cxl::settle();  // behind the marks, whoever made them: in front of the first slot that is read
  // Under the lock: a table is not taken away, and its pages given up, between the looks of one answer.
  std::shared_lock lock{mutex_};
  for (const auto& [session, file] : tables_)
    if (!file->look_up(pages, out))
      return std::vector<hold>(pages.size(), {true, true});
  cxl::conclude();  // what those who held a page have read of it is read
  return out;
}

}  // namespace maru::actors
