// The sessions' files beside the pool (see file_lock and pin_record), one "<session id>.lock" each: what is left of
// sessions when a marud starts.
#pragma once

#include <string>
#include <vector>

#include "actors/recovery.hpp"
#include "storage/metadata_store.hpp"

namespace maru::actors {

// Sessions whose workers live, as their locks tell, made up as far as nothing else is known of them: nobody can resume
// them, but what they hold is theirs until they are proven dead. `io`: the folder cannot be read.
result<std::vector<storage::session_record>> living_sessions(const std::string& lock_dir);

// Removes the files that belong to none of these sessions: of sessions that ended while no marud ran.
void remove_stale_session_files(const std::string& lock_dir, const std::vector<recovered_session>& sessions);

}  // namespace maru::actors
