// Writes the seed corpus: fuzz_make_seeds tests/fuzz/corpus. Each file is a real encoding of values that set every
// field, in the form its target takes (see the head of each). Inputs that once broke a target are added by hand.
#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/make_message.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/bounds.hpp"
#include "base/codec.hpp"
#include "cxl/descriptor_table.hpp"
#include "net/protocol.hpp"
#include "net/records.hpp"
#include "storage/records.hpp"
#include "tests/cxl/samples.hpp"
#include "tests/net/raw_peer.hpp"

namespace {

using namespace maru;
using std::string;

class corpus {
public:
  explicit corpus(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void add(const string& target, const string& name, std::string_view bytes) {
    std::filesystem::create_directories(folder_ / target);
    std::ofstream out{folder_ / target / name, std::ios::binary};
    out << bytes;
    good_ = good_ && out.flush().good();
  }
  bool good() const { return good_; }

private:
  std::filesystem::path folder_;
  bool good_ = true;
};

template <class Bytes>
string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const location somewhere{{region_id{3}, page_index{17}}, 65536, 0x123456789abc, 0x1122334455667788};

// -- messages

// The payload of a message as CAF writes it, without forwarding stages.
string payload_of(const caf::message& message) {
  struct config : caf::actor_system_config {
    config() { net::add_protocol_types(*this); }
  } cfg;
  caf::actor_system system{cfg};
  std::vector<char> bytes;
  caf::binary_serializer sink{system, bytes};
  if (sink(std::vector<caf::strong_actor_ptr>{}, message))
    return {};
  return {bytes.begin(), bytes.end()};
}

net::hello a_hello() {
  net::hello m;
  m.client_version = "0.1.0";
  m.instance = "worker-1";
  m.host = "host";
  m.boot_id = string(16, 'b');
  m.page_bytes = 65536;
  m.resume_session = 0x100000002;
  m.resume_secret = string(16, 's');
  std::vector<key_hash> hashes{{1, 2}};
  m.pinned = net::encode_hashes(hashes);
  std::vector<pin_id> views{{{1, 2}, {{region_id{1}, page_index{2}}, 3}}};
  m.viewed = net::encode_view_pins(views);
  return m;
}

void add_frames(corpus& to) {
  using namespace test;
  auto own = node_bytes(1, 'o'), other = node_bytes(2, 'p');
  // A byte for the side we are, then frames with a byte before each: 1 where we ask the peer something first.
  auto accepted = string(2, '\0') + client_hello(other);
  auto connected = string("\1\0", 2) + to_bytes({server_handshake, other + string(20, '\0'), 3});
  auto message = [](const caf::message& m, std::uint64_t id) {
    return string(1, id & response_bit ? '\1' : '\0') + to_bytes({direct_message, payload_of(m), id, 5, 6});
  };
  std::vector<key_hash> hashes{{1, 2}, {3, 4}};
  std::vector<net::found> found{{ec::ok, somewhere}};
  net::regions_reply regions{0, {{1, 0, 0, 4 << 20, 65536}}};
  to.add("basp_frames", "hello", accepted + message(caf::make_message(a_hello()), request_id(1)));
  to.add("basp_frames", "lookup",
         accepted + message(caf::make_message(net::lookup_request{1, net::encode_hashes(hashes)}), request_id(2)));
  to.add("basp_frames", "regions",
         accepted + message(caf::make_message(net::regions_request{{1, 2, 3}}), request_id(3)) + string(1, '\0')
           + to_bytes({heartbeat}));
  to.add("basp_frames", "found",
         connected
           + message(caf::make_message(net::found_reply{0, net::encode_found(found)}), response_bit | request_id(2)));
  auto codes = caf::make_message(net::codes_reply{0, "\1\2"});
  to.add("basp_frames", "answered_twice",
         connected + message(codes, response_bit | request_id(2)) + string(1, '\0')
           + to_bytes({direct_message, payload_of(codes), response_bit | request_id(2), 5, 6}));
  to.add("basp_frames", "rows", connected + message(caf::make_message(regions), response_bit | request_id(3)));
  to.add(
    "basp_frames", "error",
    connected + message(caf::make_message(make_error(caf::sec::unexpected_message)), response_bit | request_id(4)));
  to.add("basp_frames", "plain",
         accepted + message(caf::make_message(string{"text"}, 4711, caf::atom("atom")), async_id));
  to.add("basp_frames", "handshake_again", accepted + string(1, '\0') + client_hello(other));
  auto gone = string(1, '\4') + big_endian(atom_of("exit")) + message_within("", "");
  to.add("basp_frames", "monitor_and_down",
         accepted + string(1, '\0') + to_bytes({monitor_message, other + own, 0, 0, 6}) + string(1, '\0')
           + to_bytes({down_message, other + own + gone, 0, 5, 0}));
}

void add_records(corpus& to) {
  std::vector<key_hash> hashes{{1, 2}, {~0ull, 3}};
  std::vector<page_grant> grants{{somewhere.page, somewhere.gen}, {{}, generation_max}};
  std::vector<net::found> found{{ec::ok, somewhere}, {ec::missing, {}}};
  std::vector<ec> codes{ec::ok, ec::exists, ec::last_};
  std::vector<net::commit_item> commits{{"key", somewhere}, {"", {}}};
  to.add("message_records", "hashes", net::encode_hashes(hashes));
  to.add("message_records", "grants", net::encode_grants(grants));
  to.add("message_records", "found", net::encode_found(found));
  to.add("message_records", "codes", net::encode_codes(codes));
  to.add("message_records", "commits", net::encode_commits(commits));
}

// -- what is stored

uuid uuid_of(std::uint8_t n) {
  uuid id;
  id.bytes.fill(n);
  return id;
}

void add_stored(corpus& to) {
  // Also without version and checksum, which the target puts around them.
  auto both = [&](const string& name, const string& record) {
    to.add("stored_records", name, record);
    to.add("stored_records", name + "_fields", std::string_view{record}.substr(1, record.size() - 5));
  };
  string record;
  if (storage::encode(storage::entry_record{"model/layer/1", somewhere, 1700000000000, "worker-1"}, record))
    both("entry", record);
  storage::session_record session{
    session_id{0x100000002}, uuid_of(1), uuid_of(2), "host", "worker-1", "/locks/1", 65536, 1700000000000};
  if (storage::encode(session, record))
    both("session", record);
  both("pool", storage::encode(storage::pool_record{uuid_of(3), uuid_of(4), "/dev/shm/pool"}));
}

void add_pool(corpus& to) {
  using namespace cxl;
  alignas(64) std::byte line[descriptor_bytes] = {};
  descriptor_table{line, 1}.write(0, samples::a_descriptor());
  to.add("page_descriptor", "committed", {reinterpret_cast<const char*>(line), sizeof line});
  to.add("page_descriptor", "zeros", string(descriptor_bytes, '\0'));
  auto older = text_of(encode(samples::a_superblock(7))), newer = text_of(encode(samples::a_superblock(8)));
  auto row = text_of(encode(samples::a_row()));
  to.add("pool_head", "both_copies", string(1, '\7') + older + newer + row);
  to.add("pool_head", "one_copy", string(1, '\1') + newer + string(superblock_bytes, 'x') + row);
  auto left = samples::a_superblock(9);  // of a pool that two devices were removed from
  left.device_count = left.device_index;
  to.add("pool_head", "after_removal", string(1, '\1') + text_of(encode(left)) + string(superblock_bytes, 'x') + row);
  string magic;
  writer{magic}.number(formatting_magic);
  to.add("pool_head", "unfinished", string(1, '\0') + magic);
  to.add("pool_head", "blank", string(1 + 2 * superblock_bytes + region_row_bytes, '\0'));
}

// -- text

void add_text(corpus& to) {
  to.add("trace_line", "request",
         R"({"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]})");
  to.add("trace_line", "other_fields",
         R"({"hash_ids": [], "x": {"y": [null, -1.5e3, "A\""]}, "timestamp": 18446744073709551615, )"
         R"("input_length": 0, "output_length": 0})");
  to.add("config_text", "entries",
         "# comment\npool = \"/dev/shm/pool\"  # more\n\n  shards=4\r\nlisten = '127.0.0.1:0'\nformat = true # x\n");
  to.add("config_text", "quotes", "a = \"it's\"\nb = '\"'\nc = \"#\"\nd=x\"y'z");
  using namespace std::literals;
  to.add("marud_options", "file_and_arguments",
         "pool-size = \"1GiB\"\nshards = 4\nlisten = \"[::1]:0\"\0--pool=/p\0--page-min\0"
         "64KiB\0--format\0--pool-mode=0660\0--log-level=debug"s);
  to.add("marud_options", "arguments",
         "\0--durability=host\0--on-damage=start-empty\0--lease-ms=500\0--http=0.0.0.0:1\0--insecure-http\0"
         "--region-size=2MiB\0--reserve-pages=-1\0--prefault=off"s);
  to.add("marud_options", "help", "\0--help"s);
  to.add("text_values", "size", "1.5GiB");
  to.add("text_values", "bytes", "4096 b");
  to.add("text_values", "address", "127.0.0.1:5555");
  to.add("text_values", "address_v6", "[::1]:5555");
  to.add("text_values", "uuid", "a1a1a1a1-0123-4567-89ab-cdefABCDEF00");
  to.add("key_text", "plain", "model/layer/1");
  to.add("key_text", "hex", "hex:00ff20");
  to.add("key_text", "bytes", string("\0 \xff", 3));
  to.add("key_text", "too_long", string(bounds::key_bytes_max + 1, 'k'));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " FOLDER\n";
    return 2;
  }
  corpus to{argv[1]};
  add_frames(to);
  add_records(to);
  add_stored(to);
  add_pool(to);
  add_text(to);
  if (!to.good())
    std::cerr << "failed to write the seeds to " << argv[1] << "\n";
  return to.good() ? 0 : 1;
}
