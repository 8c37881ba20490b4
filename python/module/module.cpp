// maru_handler._maru: the C++ client for Python. Not for callers: maru.MaruHandler is.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/bounds.hpp"
#include "base/version.hpp"
#include "net/intact.hpp"
#include "python/module/buffer.hpp"
#include "python/module/client_object.hpp"
#include "python/module/errors.hpp"
#include "python/module/gil.hpp"
#include "python/module/keys.hpp"

namespace py = pybind11;

namespace maru::python {
namespace {

using path_map = std::vector<std::pair<std::string, std::string>>;

std::unique_ptr<client_object> open(const std::string& server, const std::string& instance, std::size_t chunk_bytes,
                                    const std::string& token, const std::string& token_file, const std::string& tls_ca,
                                    const std::string& tls_cert, const std::string& tls_key,
                                    const std::string& tls_server_name, const path_map& paths, std::uint64_t timeout_ms,
                                    bool local_reads, bool guard_memory) {
  client_options options;
  options.server = server;
  options.instance = instance;
  options.chunk_bytes = chunk_bytes;
  options.token = token;
  options.token_file = token_file;
  options.tls = {tls_ca, tls_cert, tls_key, tls_server_name};
  options.path_map = paths;
  options.timeout = std::chrono::milliseconds{timeout_ms};
  options.local_reads = local_reads;
  options.guard_memory = guard_memory;
  return std::make_unique<client_object>(std::move(options));
}

py::bytes encode_key(const py::object& key) {
  py::list one;
  one.append(key);
  key_batch batch{one};
  return py::bytes{std::string{batch.views().front()}};
}

bool intact(const py::object& bytes) {
  Py_buffer seen;
  if (PyObject_GetBuffer(bytes.ptr(), &seen, PyBUF_SIMPLE) != 0)
    throw py::error_already_set();
  bool whole = maru::intact({static_cast<const std::byte*>(seen.buf), static_cast<std::size_t>(seen.len)});
  PyBuffer_Release(&seen);
  return whole;
}

}  // namespace

void add_client_type(py::module_& module) {
  py::class_<client_object>(module, "Client", "A session with marud. See client_object.hpp.")
    .def(py::init(&open), py::kw_only(), py::arg("server"), py::arg("instance"), py::arg("chunk_bytes"),
         py::arg("token"), py::arg("token_file"), py::arg("tls_ca"), py::arg("tls_cert"), py::arg("tls_key"),
         py::arg("tls_server_name"), py::arg("path_map"), py::arg("timeout_ms"), py::arg("local_reads"),
         py::arg("guard_memory"))
    .def("close", &client_object::close)
    .def("alloc", &client_object::alloc)
    .def("fill", &client_object::fill)
    .def("free", &client_object::free)
    .def("store", &client_object::store)
    .def("retrieve", &client_object::retrieve)
    .def("exists", &client_object::exists)
    .def("pin", &client_object::pin)
    .def("unpin", &client_object::unpin)
    .def("release_pin", &client_object::release_pin)
    .def("remove", &client_object::remove)
    .def("region", &client_object::region)
    .def("allocated", &client_object::allocated)
    .def("allocated_by_region", &client_object::allocated_by_region)
    .def("show_region", &client_object::show_region)
    .def("usage", &client_object::usage)
    .def("info", &client_object::info);
}

}  // namespace maru::python

PYBIND11_MODULE(_maru, module) {
  using namespace maru::python;
  module.doc() = "Maru's C++ client. Use maru.MaruHandler.";
  module.attr("__version__") = std::string{maru::version()};
  module.attr("batch_items_max") = maru::bounds::batch_items_max;
  module.attr("layout_align") = maru::bounds::layout_align;
  add_error_type(module);
  add_buffer_type(module);
  add_client_type(module);
  module.def("encode_key", &encode_key, "The bytes that stand for a key at marud.");
  module.def("intact", &intact, "Whether no memory of a bytes-like object failed under this process so far.");
  module.def(
    "wait_for_calls",
    [] {
      auto* state = PyEval_SaveThread();
      wait_for_threads_away();
      PyEval_RestoreThread(state);
    },
    "Waits, for a moment at most, until no other thread is in a call.");
  prepare_exit();
}
