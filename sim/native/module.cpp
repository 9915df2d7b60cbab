// The Python module: its attributes are the kernels, as capsules that JAX registers under their names.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "simd.h"
#include "xla/ffi/api/c_api.h"

#define FOR_EACH_KERNEL(DO) \
  DO(connectofit_push_f32)  \
  DO(connectofit_push_f64)  \
  DO(connectofit_pull_f32)  \
  DO(connectofit_pull_f64)  \
  DO(connectofit_outer_f32) \
  DO(connectofit_outer_f64) \
  DO(connectofit_spiking_f32) \
  DO(connectofit_spiking_f64)

// These need vector types of the compiler; see sim/native/__init__.py.
#if defined(__GNUC__)
#define FOR_EACH_TRAINING_KERNEL(DO)  \
  DO(connectofit_train_forward_f32)  \
  DO(connectofit_train_forward_f64)  \
  DO(connectofit_train_backward_f32) \
  DO(connectofit_train_backward_f64)
#else
#define FOR_EACH_TRAINING_KERNEL(DO)
#endif

#define DECLARE(name) extern "C" XLA_FFI_Error* name(XLA_FFI_CallFrame*);
FOR_EACH_KERNEL(DECLARE)
FOR_EACH_TRAINING_KERNEL(DECLARE)

#define CAPSULE(name)                                                                                   \
  {                                                                                                     \
    PyObject* capsule = PyCapsule_New(reinterpret_cast<void*>(name), "xla._CUSTOM_CALL_TARGET", nullptr); \
    if (capsule == nullptr || PyModule_AddObject(module, #name, capsule) < 0) {                         \
      Py_XDECREF(capsule);                                                                              \
      Py_DECREF(module);                                                                                \
      return nullptr;                                                                                   \
    }                                                                                                   \
  }

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "compiled", "Compiled kernels; see connectofit.sim.native.", -1,
                                 nullptr, nullptr, nullptr, nullptr, nullptr};

// What sim/native/__init__.py asks for; one more whenever what a kernel takes or gives changes.
static const long kVersion = 2;

PyMODINIT_FUNC PyInit_compiled() {
  PyObject* module = PyModule_Create(&definition);
  if (module == nullptr) return nullptr;
  FOR_EACH_KERNEL(CAPSULE)
  FOR_EACH_TRAINING_KERNEL(CAPSULE)
  if (PyModule_AddIntConstant(module, "version", kVersion) < 0 ||
      PyModule_AddIntConstant(module, "level", level()) < 0 ||
      PyModule_AddIntConstant(module, "ffi_major", XLA_FFI_API_MAJOR) < 0 ||
      PyModule_AddIntConstant(module, "ffi_minor", XLA_FFI_API_MINOR) < 0) {
    Py_DECREF(module);
    return nullptr;
  }
  return module;
}
