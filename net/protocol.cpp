#include "net/protocol.hpp"

#include <caf/actor_system_config.hpp>

namespace maru::net {

void add_protocol_types(caf::actor_system_config& cfg) {
  // These names travel with every message.
  cfg.add_message_type<hello>("hello")
    .add_message_type<hello_reply>("hellor")
    .add_message_type<grant_request>("gr")
    .add_message_type<grant_reply>("grr")
    .add_message_type<give_back_request>("gb")
    .add_message_type<commit_request>("co")
    .add_message_type<lookup_request>("lo")
    .add_message_type<exists_request>("ex")
    .add_message_type<unpin_request>("un")
    .add_message_type<remove_request>("rm")
    .add_message_type<codes_reply>("cdr")
    .add_message_type<found_reply>("fdr")
    .add_message_type<report_request>("rp")
    .add_message_type<renew_request>("rn")
    .add_message_type<renew_reply>("rnr")
    .add_message_type<regions_request>("rg")
    .add_message_type<regions_reply>("rgr")
    .add_message_type<show_region_request>("sr")
    .add_message_type<show_region_reply>("srr")
    .add_message_type<usage_request>("us")
    .add_message_type<usage_reply>("usr")
    .add_message_type<attach_request>("at")
    .add_message_type<close_request>("cl")
    .add_message_type<close_reply>("clr")
    .add_message_type<admin_request>("adm")
    .add_message_type<admin_reply>("admr");
}

}  // namespace maru::net
