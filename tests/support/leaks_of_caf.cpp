// What LeakSanitizer is not to report in tests, in builds that have it.
//
// CAF 0.17.6 now and then keeps its broker, or a connection that comes up at that moment, when an actor system ends: one
// set of objects a system, at its end only. Growth while a system runs is what the transport's own tests look for.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libcaf_io.so\n"
         "leak:hardened_broker\n"
         "leak:caf::net::middleman\n";
}
