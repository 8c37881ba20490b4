// What LeakSanitizer is not to report in tests, in builds that have it.
//
// CAF 0.17.6 lets go of no connection that comes up or is asked for in the very moment in which its actor system ends:
// one object a system, in tests that stop a server while a client connects.
extern "C" const char* __lsan_default_suppressions() { return "leak:default_multiplexer::new_scribe\n"; }
