/* SPDX-License-Identifier: Apache-2.0
 * ferry/ferry.hpp - C++17 over ferry/ferry.h: handles that free themselves, failures as exceptions. Header only, nothing hidden.
 *
 *     ferry::Model   model("resnet50.onnx", "threads=2");            // shared by any number of threads
 *     ferry::Session session(model);                                 // one for each thread; keeps the model alive
 *     std::vector<float> x(3 * 224 * 224);
 *     auto y = session.run({ferry::tensor(x, {1, 3, 224, 224})});
 *     for (float p : y[0].span<float>()) ...                         // valid until this session's next run
 *
 * What the C headers say of lifetimes and threads holds. get() gives the C handle, for what has no place here. */
#ifndef FERRY_FERRY_HPP
#define FERRY_FERRY_HPP

#include "ferry/ferry.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace ferry {

/* A failure: what() is the sentence, code() stable ("SHAPE"), kind() a ferry_kind. */
class Error : public std::runtime_error {
public:
    explicit Error(const ferry_error &e) : std::runtime_error(e.text), kind_(e.kind), code_(e.code ? e.code : ""), help_(e.help) {
        for (int32_t i = 0; i < e.nframes && i < FERRY_FRAMES; i++) frames_.emplace_back(e.frame[i]);
    }
    int                             kind() const noexcept { return kind_; }
    const std::string              &code() const noexcept { return code_; }
    const std::string              &help() const noexcept { return help_; }
    const std::vector<std::string> &frames() const noexcept { return frames_; }

private:
    int                      kind_;
    std::string              code_, help_;
    std::vector<std::string> frames_;
};

namespace detail {
template <class T> struct dtype;
template <> struct dtype<float> { static constexpr int32_t value = FERRY_FLOAT; };
template <> struct dtype<double> { static constexpr int32_t value = FERRY_DOUBLE; };
template <> struct dtype<int8_t> { static constexpr int32_t value = FERRY_INT8; };
template <> struct dtype<int16_t> { static constexpr int32_t value = FERRY_INT16; };
template <> struct dtype<int32_t> { static constexpr int32_t value = FERRY_INT32; };
template <> struct dtype<int64_t> { static constexpr int32_t value = FERRY_INT64; };
template <> struct dtype<uint8_t> { static constexpr int32_t value = FERRY_UINT8; };
template <> struct dtype<uint16_t> { static constexpr int32_t value = FERRY_UINT16; };
template <> struct dtype<uint32_t> { static constexpr int32_t value = FERRY_UINT32; };
template <> struct dtype<uint64_t> { static constexpr int32_t value = FERRY_UINT64; };
template <> struct dtype<bool> { static constexpr int32_t value = FERRY_BOOL; };

template <class T, void (*release)(T *)> struct deleter { void operator()(T *p) const noexcept { release(p); } };
template <class T, void (*release)(T *)> using handle = std::unique_ptr<T, deleter<T, release>>;

[[noreturn]] inline void usage(const std::string &text) {
    ferry_error e{};
    e.kind = FERRY_USAGE;
    e.code = "USAGE";
    text.copy(e.text, sizeof e.text - 1);
    throw Error(e);
}
inline void must(int kind, const ferry_error &e) { if (kind != FERRY_OK) throw Error(e); }
} // namespace detail

/* Elements in a row that belong to somebody else. */
template <class T> class Span {
public:
    Span(T *at, size_t n) : at_(at), n_(n) {}
    T     *begin() const noexcept { return at_; }
    T     *end() const noexcept { return at_ + n_; }
    T     *data() const noexcept { return at_; }
    size_t size() const noexcept { return n_; }
    T     &operator[](size_t i) const noexcept { return at_[i]; }

private:
    T     *at_;
    size_t n_;
};

/* A view of dense row-major data, which it does not own. */
class Tensor {
public:
    Tensor() = default;
    explicit Tensor(const ferry_tensor &t) : t_(t) {}

    int32_t              dtype() const noexcept { return t_.dtype; }
    std::vector<int64_t> shape() const { return {t_.dim, t_.dim + t_.rank}; }
    size_t               bytes() const noexcept { return t_.bytes; }
    size_t size() const noexcept {
        size_t n = 1;
        for (int32_t i = 0; i < t_.rank; i++) n *= static_cast<size_t>(t_.dim[i]);
        return n;
    }
    /* The elements, if they are of type T; else Error. */
    template <class T> Span<T> span() const {
        if (detail::dtype<T>::value != t_.dtype) detail::usage(std::string("the tensor is ") + ferry_dtype_name(t_.dtype) + ", not " + ferry_dtype_name(detail::dtype<T>::value));
        return {static_cast<T *>(t_.data), size()};
    }
    template <class T> std::vector<T> copy() const {
        Span<T> s = span<T>();
        return {s.begin(), s.end()};
    }
    ferry_tensor       &get() noexcept { return t_; }
    const ferry_tensor &get() const noexcept { return t_; }

private:
    ferry_tensor t_{};
};

/* A view of n elements; Error if the shape has another number. Inputs are not written to. */
template <class T> Tensor tensor(const T *data, size_t n, const std::vector<int64_t> &shape) {
    if (shape.size() > FERRY_MAX_RANK) detail::usage("rank " + std::to_string(shape.size()) + " is outside 0..16");
    Tensor t(ferry_view(detail::dtype<T>::value, const_cast<T *>(data), static_cast<int32_t>(shape.size()), shape.data()));
    if (t.size() != n) detail::usage("the shape has " + std::to_string(t.size()) + " elements; " + std::to_string(n) + " are given");
    return t;
}
template <class T> Tensor tensor(const std::vector<T> &data, const std::vector<int64_t> &shape) { return tensor(data.data(), data.size(), shape); }

/* An input or output of a model: name, dtype, sizes (-1: not fixed, symbols[i] names it), and the whole type as text, "f32[batch,3]". */
struct Port {
    std::string              name, type;
    int32_t                  dtype = 0;
    std::vector<int64_t>     shape;
    std::vector<std::string> symbols;

    explicit Port(const ferry_port &p) : name(p.name), type(p.type), dtype(p.dtype) {
        for (int32_t i = 0; i < p.rank; i++) {
            shape.push_back(p.dim[i]);
            symbols.emplace_back(p.dim[i] < 0 && p.sym[i] ? p.sym[i] : "");
        }
    }
};

/* A model. Copies are the same model. */
class Model {
public:
    explicit Model(const std::string &path, const std::string &options = "") {
        ferry_error e{};
        take(ferry_open(path.c_str(), options.c_str(), &e), e);
    }
    /* A .onnx in memory, which must outlive the model. */
    Model(const void *data, size_t bytes, const std::string &options = "") {
        ferry_error e{};
        take(ferry_open_memory(data, bytes, options.c_str(), &e), e);
    }
    std::vector<Port> inputs() const { return ports(ferry_inputs(get()), ferry_input); }
    std::vector<Port> outputs() const { return ports(ferry_outputs(get()), ferry_output); }
    /* "" where the file says nothing. */
    std::string metadata(const std::string &key) const {
        const char *text = ferry_metadata(get(), key.c_str());
        return text ? text : "";
    }
    ferry_model *get() const noexcept { return model_.get(); }

private:
    void take(ferry_model *m, const ferry_error &e) {
        if (!m) throw Error(e);
        model_.reset(m, ferry_close);
    }
    std::vector<Port> ports(size_t n, const ferry_port *(*at)(const ferry_model *, size_t)) const {
        std::vector<Port> list;
        for (size_t i = 0; i < n; i++) list.emplace_back(*at(get(), i));
        return list;
    }
    std::shared_ptr<ferry_model> model_;
};

/* What a run needs besides the model. One thread at a time; moves, does not copy. */
class Session {
public:
    explicit Session(Model model) : model_(std::move(model)) {
        ferry_error e{};
        session_.reset(ferry_session_new(model_.get(), &e));
        if (!session_) throw Error(e);
        out_.resize(ferry_outputs(model_.get()));
    }
    /* The outputs, as views that are valid until this session's next run. */
    std::vector<Tensor> run(const std::vector<Tensor> &inputs) {
        for (ferry_tensor &t : out_) t = {};
        call(inputs, out_);
        std::vector<Tensor> results;
        for (const ferry_tensor &t : out_) results.emplace_back(t);
        return results;
    }
    /* Into memory of yours: views with data, of the dtype and shape that the outputs have. */
    void run(const std::vector<Tensor> &inputs, const std::vector<Tensor> &outputs) {
        std::vector<ferry_tensor> out;
        for (const Tensor &t : outputs) out.push_back(t.get());
        call(inputs, out);
    }
    void reset() {
        ferry_error e{};
        detail::must(ferry_session_reset(session_.get(), &e), e);
    }
    /* Ends the run in progress; any thread may call it. */
    bool           stop() noexcept { return ferry_session_stop(session_.get()) == FERRY_OK; }
    const Model   &model() const noexcept { return model_; }
    ferry_session *get() const noexcept { return session_.get(); }

private:
    void call(const std::vector<Tensor> &inputs, std::vector<ferry_tensor> &out) {
        ferry_error e{};
        in_.clear();
        for (const Tensor &t : inputs) in_.push_back(t.get());
        detail::must(ferry_run(session_.get(), in_.data(), in_.size(), out.data(), out.size(), &e), e);
    }
    Model                                              model_;       /* goes after the session */
    detail::handle<ferry_session, ferry_session_free>  session_;
    std::vector<ferry_tensor>                          in_, out_;
};

/* Named values that own their memory: files, pictures, random numbers. */
class Values {
public:
    Values() : values_(ferry_values_new()) { if (!values_) throw std::bad_alloc(); }
    size_t size() const noexcept { return ferry_values_count(get()); }
    Tensor operator[](size_t i) const {
        ferry_error e{};
        Tensor t;
        detail::must(ferry_values_get(get(), i, &t.get(), &e), e);
        return t;
    }
    Tensor operator[](const std::string &name) const {
        int i = ferry_values_find(get(), name.c_str());
        if (i < 0) detail::usage("there is no value '" + name + "'");
        return (*this)[static_cast<size_t>(i)];
    }
    void set(const std::string &name, const Tensor &t) {
        ferry_error e{};
        detail::must(ferry_values_set(get(), name.c_str(), &t.get(), &e), e);
    }
    void read(const std::string &path, const std::string &name = "") {
        ferry_error e{};
        detail::must(ferry_values_read(get(), path.c_str(), name.c_str(), &e), e);
    }
    void write(const std::string &path) const {
        ferry_error e{};
        detail::must(ferry_values_write(get(), path.c_str(), &e), e);
    }
    /* Pictures as one batch for input `i` of the model. */
    void images(const Model &model, size_t i, const std::vector<std::string> &paths) {
        ferry_error e{};
        std::vector<const char *> text;
        for (const std::string &p : paths) text.push_back(p.c_str());
        const ferry_port *port = ferry_input(model.get(), i);
        if (!port) detail::usage("there is no input " + std::to_string(i));
        detail::must(ferry_values_image(get(), port, text.data(), text.size(), nullptr, &e), e);
    }
    ferry_values *get() const noexcept { return values_.get(); }

private:
    detail::handle<ferry_values, ferry_values_free> values_;
};

/* What a command found; ok() is false when a gate said no. */
class Report {
public:
    Report(ferry_report *r, bool ok) : report_(r), ok_(ok) {}
    bool        ok() const noexcept { return ok_; }
    std::string text(bool colour = false) const { return ferry_report_text(report_.get(), colour); }
    std::string json() const { return ferry_report_json(report_.get()); }
    std::string full() const { return ferry_report_full(report_.get()); }

private:
    detail::handle<ferry_report, ferry_report_free> report_;
    bool                                            ok_;
};

/* Options of a command: {{"opset", "17"}, {"dynamic-batch", ""}}. */
using Options = std::vector<std::pair<std::string, std::string>>;

namespace detail {
/* Calls f(job, &report, &error); Error if there is no report. */
template <class F> Report command(const Options &options, F f) {
    std::vector<ferry_option> list;
    for (const auto &o : options) list.push_back({o.first.c_str(), o.second.c_str()});
    const ferry_job job{list.data(), list.size(), nullptr, nullptr};
    ferry_report *r = nullptr;
    ferry_error   e{};
    int kind = f(&job, &r, &e);
    if (!r) throw Error(e);
    return {r, kind == FERRY_OK};
}
} // namespace detail

inline Report export_model(const std::string &pt2, const std::string &onnx, const Options &o = {}) {
    return detail::command(o, [&](const ferry_job *j, ferry_report **r, ferry_error *e) { return ferry_export(pt2.c_str(), onnx.c_str(), j, r, e); });
}
inline Report convert(const std::string &onnx, const std::string &to, const Options &o) {
    return detail::command(o, [&](const ferry_job *j, ferry_report **r, ferry_error *e) { return ferry_convert(onnx.c_str(), to.c_str(), j, r, e); });
}
inline Report optimize(const std::string &onnx, const std::string &to, const Options &o = {}) {
    return detail::command(o, [&](const ferry_job *j, ferry_report **r, ferry_error *e) { return ferry_optimize(onnx.c_str(), to.c_str(), j, r, e); });
}
inline Report verify(const std::string &model, const Options &o = {}) {
    return detail::command(o, [&](const ferry_job *j, ferry_report **r, ferry_error *e) { return ferry_verify(model.c_str(), j, r, e); });
}
inline Report check(const std::string &path, const Options &o = {}) {
    return detail::command(o, [&](const ferry_job *j, ferry_report **r, ferry_error *e) { return ferry_check(path.c_str(), j, r, e); });
}
inline Report info(const std::string &path, const Options &o = {}) {
    return detail::command(o, [&](const ferry_job *j, ferry_report **r, ferry_error *e) { return ferry_info(path.c_str(), j, r, e); });
}

} // namespace ferry
#endif
