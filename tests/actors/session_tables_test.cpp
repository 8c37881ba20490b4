// Goal: a page is given up only if no session's table holds it, and if every table could be read. Method: tables of several
// workers, files that are missing, and one that cannot be read.
#include "actors/session_tables.hpp"

#include <gtest/gtest.h>

#include "tests/cxl/session_file.hpp"

namespace maru::actors {
namespace {

using cxl::test::page;
using cxl::test::session_file;

TEST(SessionTables, WithoutSessionsNothingIsHeld) {
  session_tables tables;
  std::vector<page_ref> pages = {page(1), page(2)};
  for (auto hold : tables.held(pages))
    EXPECT_FALSE(hold.any());
  EXPECT_TRUE(tables.held({}).empty());
}

TEST(SessionTables, WhatAnySessionHoldsIsHeld) {
  session_file files[2];
  session_tables tables;
  std::unique_ptr<cxl::held_pages> workers[2];
  for (std::uint64_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(tables.add(session_id{i + 1}, files[i].path));
    workers[i] = files[i].worker();
  }
  workers[0]->add({page(1), false});
  workers[1]->add({page(1), true});
  workers[1]->add({page(2), true});
  std::vector<page_ref> pages = {page(1), page(2), page(3)};
  auto held = tables.held(pages);
  EXPECT_TRUE(held[0].by_key && held[0].by_view);
  EXPECT_TRUE(!held[1].by_key && held[1].by_view);
  EXPECT_FALSE(held[2].any());
  tables.remove(session_id{2});
  held = tables.held(pages);
  EXPECT_TRUE(held[0].by_key && !held[0].by_view);
  EXPECT_FALSE(held[1].any());
  EXPECT_EQ(tables.find(session_id{2}), nullptr);
  EXPECT_NE(tables.find(session_id{1}), nullptr);
  EXPECT_EQ(tables.all().size(), 1u);
}

TEST(SessionTables, ATableThatCannotBeReadHoldsEverything) {
  session_file file;
  session_tables tables;
  ASSERT_TRUE(tables.add(session_id{1}, file.path));
  ASSERT_TRUE(tables.add(session_id{2}, file.folder.path()));  // a folder opens, and gives no bytes
  std::vector<page_ref> pages = {page(1), page(2)};
  for (auto hold : tables.held(pages))
    EXPECT_TRUE(hold.by_key && hold.by_view);
  tables.remove(session_id{2});
  for (auto hold : tables.held(pages))
    EXPECT_FALSE(hold.any());
}

TEST(SessionTables, AFileThatIsNotThereIsRefused) {
  maru::test::temp_folder folder;
  session_tables tables;
  EXPECT_EQ(tables.add(session_id{1}, folder / "none").code(), ec::io);
  EXPECT_TRUE(tables.all().empty());
}

TEST(SessionTables, AFileThatIsDeletedMeanwhileIsStillRead) {
  session_file file;
  session_tables tables;
  ASSERT_TRUE(tables.add(session_id{1}, file.path));
  auto worker = file.worker();
  std::filesystem::remove(file.path);
  worker->add({page(1), false});
  auto p = page(1);
  EXPECT_TRUE(tables.held({&p, 1})[0].by_key);
}

}  // namespace
}  // namespace maru::actors
