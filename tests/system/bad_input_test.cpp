// Goal: bad input gets a typed error and hurts nobody (invariants 9 and 10). Method: well-formed messages that make no
// sense, sent past the client library straight to the session actor; and the library's own checks.
#include <gtest/gtest.h>

#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include <algorithm>
#include <fstream>

#include "base/uuid.hpp"
#include "net/protocol.hpp"
#include "net/records.hpp"
#include "net/transport.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

// A peer that speaks the protocol and obeys no rule of the client library.
class liar {
public:
  explicit liar(marud& m) : config_(std::make_unique<caf::actor_system_config>()) {
    net::add_protocol_types(*config_);
    net::configure_transport(*config_, {});
    system_ = std::make_unique<caf::actor_system>(*config_);
    self_ = std::make_unique<caf::scoped_actor>(*system_);
    auto port = static_cast<std::uint16_t>(std::stoi(m.address().substr(m.address().find(':') + 1)));
    auto door = system_->middleman().remote_actor<net::door_actor>("127.0.0.1", port);
    if (door)
      door_ = *door;
  }
  ~liar() {
    door_ = nullptr;
    welcome_.handle = nullptr;
    self_.reset();
  }

  net::hello good_hello() {
    net::hello h;
    auto boot = host_boot_id();
    h.boot_id.assign(reinterpret_cast<const char*>(boot.bytes.data()), 16);
    h.page_bytes = 4096;
    return h;
  }
  template <class Reply, class Handle, class Message>
  Reply say(const Handle& to, Message m) {
    Reply out;
    (*self_)
      ->request(to, std::chrono::seconds{10}, std::move(m))
      .receive([&](const Reply& r) { out = r; }, [&](const caf::error&) { out.code = 255; });
    return out;
  }
  net::hello_reply hello(net::hello h) { return say<net::hello_reply>(door_, std::move(h)); }
  bool enter() {
    welcome_ = hello(good_hello());
    return welcome_.code == 0;
  }
  std::vector<page_grant> grant(std::uint32_t n) {
    auto r = say<net::grant_reply>(welcome_.handle, net::grant_request{n});
    return net::decode_grants(r.grants).value_or(std::vector<page_grant>{});
  }
  std::vector<ec> commit(const std::vector<net::commit_item>& items) {
    auto r = say<net::codes_reply>(welcome_.handle, net::commit_request{net::encode_commits(items)});
    return r.code != 0 ? std::vector<ec>{static_cast<ec>(r.code)}
                       : net::decode_codes(r.codes).value_or(std::vector<ec>{});
  }
  const net::session_actor& session() const { return welcome_.handle; }

private:
  std::unique_ptr<caf::actor_system_config> config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<caf::scoped_actor> self_;
  net::door_actor door_;
  net::hello_reply welcome_;
};

location at(const page_grant& g, std::uint32_t length = 4096) { return {g.page, length, g.gen, 0}; }

TEST(BadInput, AVersionThatDoesNotFitIsRefusedWithAReason) {
  marud m;
  liar l{m};
  auto h = l.good_hello();
  h.version = 99;
  auto r = l.hello(h);
  EXPECT_EQ(static_cast<ec>(r.code), ec::version_mismatch);
  EXPECT_NE(r.reason.find("99"), std::string::npos);
}

TEST(BadInput, AWrongTokenIsRefused) {
  temp_folder folder;
  std::ofstream{folder / "token"} << "open-sesame";
  marud m{{"--token-file=" + (folder / "token")}};
  EXPECT_EQ(m.open(), nullptr);
  EXPECT_TRUE(m.open({.token = "open-sesame"}));
  EXPECT_TRUE(m.ask("status").is_null());
  EXPECT_FALSE(m.ask("status", {{"token", "open-sesame"}}).is_null());
}

TEST(BadInput, PagesThatAreNotGrantedCannotBeCommitted) {
  marud m;
  liar l{m}, other{m};
  ASSERT_TRUE(l.enter() && other.enter());
  auto mine = l.grant(4), foreign = other.grant(4);
  ASSERT_FALSE(mine.empty() || foreign.empty());
  auto wrong_generation = mine[0];
  ++wrong_generation.gen;
  page_grant unknown{{region_id{77}, page_index{5}}, 0}, outside{{mine[0].page.region, page_index{1u << 30}}, 0};
  EXPECT_EQ(l.commit({{"a", at(foreign[0])}}), (std::vector<ec>{ec::not_granted}));
  EXPECT_EQ(l.commit({{"a", at(unknown)}}), (std::vector<ec>{ec::not_granted}));
  EXPECT_EQ(l.commit({{"a", at(outside)}}), (std::vector<ec>{ec::not_granted}));
  EXPECT_EQ(l.commit({{"a", at(wrong_generation)}}), (std::vector<ec>{ec::not_granted}));
  EXPECT_EQ(l.commit({{"a", at(mine[0])}, {"b", at(mine[0])}}), (std::vector<ec>{ec::ok, ec::not_granted}));
  EXPECT_EQ(l.commit({{"a", at(mine[0])}}), (std::vector<ec>{ec::ok})) << "a repeated commit is answered by the page";
  EXPECT_EQ(l.commit({{"b", at(mine[0])}}), (std::vector<ec>{ec::not_granted}));
  EXPECT_EQ(other.commit({{"o", at(foreign[0])}}), (std::vector<ec>{ec::ok})) << "nothing is lost for others";
  EXPECT_EQ(m.audit(), "");
}

TEST(BadInput, KeysAndLengthsOutOfBoundsAreErrorsOfTheirItem) {
  marud m;
  liar l{m};
  ASSERT_TRUE(l.enter());
  auto g = l.grant(4);
  ASSERT_GE(g.size(), 4u);
  std::string huge(1025, 'k');
  EXPECT_EQ(l.commit({{"", at(g[0])}, {huge, at(g[1])}, {"long", at(g[2], 4097)}, {"fine", at(g[3])}}),
            (std::vector<ec>{ec::invalid, ec::too_large, ec::too_large, ec::ok}));
  EXPECT_EQ(l.commit({{"again", at(g[0])}}), (std::vector<ec>{ec::ok})) << "a refused item keeps its page";
}

TEST(BadInput, BatchesOverTheBoundAndMalformedBlobsAreRefused) {
  marud m;
  liar l{m};
  ASSERT_TRUE(l.enter());
  auto over = l.say<net::found_reply>(l.session(), net::lookup_request{0, std::string(4097 * 16, 'h')});
  EXPECT_EQ(static_cast<ec>(over.code), ec::too_large);
  auto odd = l.say<net::found_reply>(l.session(), net::lookup_request{0, std::string(17, 'h')});
  EXPECT_EQ(static_cast<ec>(odd.code), ec::invalid);
  auto garbage = l.say<net::codes_reply>(l.session(), net::commit_request{"not a blob of commits at all"});
  EXPECT_EQ(static_cast<ec>(garbage.code), ec::invalid);
  auto empty = l.say<net::found_reply>(l.session(), net::lookup_request{0, {}});
  EXPECT_EQ(empty.code, 0);
  auto flags = l.say<net::found_reply>(l.session(), net::lookup_request{255, std::string(16, 'h')});
  EXPECT_EQ(static_cast<ec>(flags.code), ec::invalid);
}

TEST(BadInput, GivingBackWhatIsNotGrantedIsAnErrorPerPage) {
  marud m;
  liar l{m}, other{m};
  ASSERT_TRUE(l.enter() && other.enter());
  auto mine = l.grant(1), foreign = other.grant(1);
  auto r = l.say<net::codes_reply>(
    l.session(), net::give_back_request{net::encode_grants(std::vector<page_grant>{foreign[0], mine[0], mine[0]})});
  EXPECT_EQ(net::decode_codes(r.codes), (std::vector<ec>{ec::not_granted, ec::ok, ec::not_granted}));
  EXPECT_EQ(m.audit(), "");
}

TEST(BadInput, MoreGrantsThanTheBoundAreRefused) {
  marud m{{"--grants-max=10"}};
  liar l{m};
  ASSERT_TRUE(l.enter());
  std::size_t got = 0;
  for (int i = 0; i < 5; ++i)
    got += l.grant(4).size();
  EXPECT_EQ(got, 10u);
}

TEST(BadInput, MorePinsThanTheBoundAreRefused) {
  marud m{{"--pins-max=100"}};
  auto c = m.open({.timeout = 500ms});
  ASSERT_TRUE(c && put(*c, "k"));
  std::vector<std::string_view> keys(60, "k");
  EXPECT_TRUE(c->pin(keys));
  EXPECT_FALSE(c->pin(keys));
  EXPECT_TRUE(c->unpin(keys));
  EXPECT_TRUE(c->pin(keys));
}

TEST(BadInput, AFutureOfMorePinsThanTheBoundIsReadyOnceOthersEnd) {
  marud m{{"--pins-max=100"}};
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "k"));
  std::vector<std::string_view> keys(60, "k");
  EXPECT_TRUE(c->pin(keys));
  auto more = c->pin_async(keys);
  EXPECT_FALSE(more.ready());
  EXPECT_TRUE(c->unpin(keys));
  EXPECT_TRUE(eventually([&] { return more.ready(); }));
  auto pinned = more.get();
  ASSERT_TRUE(pinned);
  EXPECT_EQ(std::count(pinned->begin(), pinned->end(), true), 60);
}

TEST(BadInput, ASecondHelloAfterTheBoundOnSessionsIsRefused) {
  marud m{{"--sessions-max=1"}};
  auto c = m.open();
  ASSERT_TRUE(c);
  liar l{m};
  EXPECT_EQ(static_cast<ec>(l.hello(l.good_hello()).code), ec::busy);
}

}  // namespace
}  // namespace maru::test
