#include "actors/session_tables.hpp"

#include <mutex>

namespace maru::actors {

status session_tables::add(session_id session, const std::string& path) {
  auto opened = cxl::held_pages_reader::open(path);
  if (!opened)
    return opened.error();
  std::unique_lock lock{mutex_};
  tables_[session] = std::make_shared<const cxl::held_pages_reader>(*std::move(opened));
  return {};
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

std::vector<session_tables::hold> session_tables::held(std::span<const page_ref> pages) const {
  std::vector<hold> out(pages.size());
  if (pages.empty())
    return out;
  // Under the lock: a table is not taken away, and its pages given up, between the looks of one answer.
  std::shared_lock lock{mutex_};
  for (const auto& [session, file] : tables_)
    if (!file->look_up(pages, out))
      return std::vector<hold>(pages.size(), {true, true});
  return out;
}

}  // namespace maru::actors
