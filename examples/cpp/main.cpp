// Scores images with a Blemish model through OpenVINO, as `blemish predict` does.
// The model folder is specified in docs/model-format.md.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <openvino/openvino.hpp>

#include "calibration.hpp"
#include "image.hpp"

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr const char* USAGE = "usage: blemish_predict [--json] [--false_alarm_rate RATE] MODEL IMAGE...";

// The model folder at a path: itself, or where `blemish train` puts it in its output folder.
fs::path find_model(const fs::path& path) {
    for (const char* place : {".", "best_model/inference", "inference"})
        if (fs::exists(path / place / "model.json")) return path / place;
    throw std::runtime_error("there is no model.json; give a model folder or an export for OpenVINO");
}

fs::path find_network(const fs::path& folder) {
    for (const char* name : {"model.xml", "model.onnx"})
        if (fs::exists(folder / name)) return folder / name;
    throw std::runtime_error("there is no model.xml or model.onnx; it is an export for other programs");
}

Json read_info(const fs::path& folder) {
    std::ifstream file(folder / "model.json");
    Json info = Json::parse(file);
    if (info.at("format") != "blemish-model") throw std::runtime_error("model.json is not of a Blemish model");
    if (info.at("format_version") > 8)
        throw std::runtime_error("the model was written by a newer Blemish than this program knows");
    const Json& input = info.at("input");
    if (input.contains("tiles") || input.contains("area"))
        throw std::runtime_error("the model has tiles or a region of interest, which this program does not support");
    for (const auto& [name, stated] : info.at("files").items())
        if (name != "good_patches.zip" &&  // pictures for people, which anybody may take away
            (!fs::exists(folder / name) || fs::file_size(folder / name) != stated.at("bytes")))
            throw std::runtime_error(name + " is missing, cut short or of another model");
    return info;
}

// `bit_depth` of model.json: a number of bits, 10 to 16, or a window "LOW-HIGH" of samples. What is neither is 0 to 0.
SampleRange read_range(const Json& bit_depth) {
    SampleRange range{0, 0};
    if (bit_depth.is_number_integer()) {
        const int bits = bit_depth;
        if (bits >= 10 && bits <= 16) range.high = (1u << bits) - 1;
    } else if (bit_depth.is_string()) {
        const std::string text = bit_depth;
        char end;
        if (std::sscanf(text.c_str(), "%5u-%5u%c", &range.low, &range.high, &end) != 2) range = {0, 0};
    }
    return range;
}

// The network's input, as `input` of model.json has it, and how an image lies in it: in its top-left corner.
struct Frame {
    int width, height;
    SampleRange samples;
    double aspect;  // 0 where images of any aspect are stretched to the input

    explicit Frame(const Json& input)
        : width(input.at("width")), height(input.at("height")), samples(read_range(input.at("bit_depth"))),
          aspect(input.value("aspect", 0.0)) {
        const bool is_size = std::min(width, height) >= 1 && std::max(width, height) <= 16384;
        if (!is_size || samples.low >= samples.high || samples.high > 65535 || !(aspect >= 0))
            throw std::runtime_error("`input` of model.json has a value out of range");
    }

    double ratio(const Image& image) const {
        return aspect > 0 ? double(image.width) / image.height / aspect : 1;
    }
    int box_width(const Image& image) const {
        return std::max(1, int(std::nearbyint(width * std::min(1.0, ratio(image)))));
    }
    int box_height(const Image& image) const {
        return std::max(1, int(std::nearbyint(height * std::min(1.0, 1 / ratio(image)))));
    }
    Image fit(const Image& image) const {
        return mirror(resize(image, box_width(image), box_height(image)), width, height);
    }
};

struct Verdict {
    double score;
    int width, height;
    std::map<std::string, double> timings;  // milliseconds
};

class Model {
  public:
    const std::string name;
    const Calibration calibration;

    // `rate` replaces the model's false-alarm rate unless it is 0.
    Model(const fs::path& folder, const Json& info, double rate)
        : name(info.at("detector").at("name")), calibration(info.at("calibration"), rate), frame_(info.at("input")) {
        ov::Core core;
        const auto network = core.read_model(find_network(folder));
        shape_ = {1, std::size_t(frame_.height), std::size_t(frame_.width), 3};
        network->reshape(shape_);
        // OpenVINO's own default is bfloat16 where the processor has it, which moves scores.
        const auto precision = ov::hint::inference_precision(ov::element::f32);
        const auto mode = ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY);
        request_ = core.compile_model(network, "CPU", precision, mode).create_infer_request();
    }

    Verdict judge(const std::string& path) {
        const auto start = Clock::now();
        const Image image = read_image(path, frame_.samples);
        const auto read = Clock::now();
        Image input = frame_.fit(image);
        const auto fitted = Clock::now();
        request_.set_input_tensor({ov::element::u8, shape_, input.rgb.data()});
        request_.infer();
        const double score = score_of(image);
        const auto done = Clock::now();
        const auto ms = [](auto time) { return std::chrono::duration<double, std::milli>(time).count(); };
        return {score, image.width, image.height,
                {{"read", ms(read - start)}, {"resize", ms(fitted - read)}, {"network", ms(done - fitted)}}};
    }

  private:
    Frame frame_;
    ov::Shape shape_;  // {1, H, W, 3}
    ov::InferRequest request_;

    // Where the score is the largest value of the map, what was mirrored beside the image does not count in it.
    float score_of(const Image& image) {
        const float score = request_.get_tensor("score").data<float>()[0];
        const ov::Tensor map = request_.get_tensor("anomaly_map");  // (1, h, w)
        if (map.get_shape().size() != 3) throw std::runtime_error("the network's map is not [N, h, w]");
        const int rows = int(map.get_shape()[1]), columns = int(map.get_shape()[2]);
        const float* cells = map.data<float>();
        const auto is_number = [](float value) { return std::abs(value) <= 1e30f; };  // false for NaN
        if (!is_number(score) || !std::all_of(cells, cells + map.get_size(), is_number))
            throw std::runtime_error("the model gives numbers that are not finite, so there is no verdict");
        if (score != *std::max_element(cells, cells + map.get_size())) return score;
        const int own_rows = (frame_.box_height(image) * rows + frame_.height - 1) / frame_.height;
        const int own_columns = (frame_.box_width(image) * columns + frame_.width - 1) / frame_.width;
        float largest = cells[0];
        for (const float* row = cells; row < cells + own_rows * columns; row += columns)
            largest = std::max(largest, *std::max_element(row, row + own_columns));
        return largest;
    }
};

// Control characters must not break the line, nor steer the terminal.
std::string one_line(std::string text) {
    std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; }, ' ');
    return text;
}

void say(const std::string& text) { std::fprintf(stderr, "blemish_predict: %s\n", one_line(text).c_str()); }

void print(const Model& model, const std::string& path, const Verdict& verdict, bool as_json) {
    const Calibration& calibration = model.calibration;
    const bool is_anomalous = verdict.score > calibration.threshold;
    const char* label = is_anomalous ? "Anomaly" : "Normal";
    if (!as_json) {
        std::printf("%s  %s - score:  %.3f\n", one_line(path).c_str(), label, verdict.score);
        return;
    }
    const Json record = {
        {"input_path", path},
        {"score", verdict.score},
        {"p_value", calibration.is_calibrated() ? Json(calibration.p_value(verdict.score)) : Json()},
        {"threshold", calibration.threshold},
        {"is_anomalous", is_anomalous},
        {"label", label},
        {"false_alarm_rate", calibration.is_calibrated() ? Json(calibration.rate) : Json()},
        {"model_name", model.name},
        {"size", {verdict.width, verdict.height}},
        {"timings", verdict.timings},
    };
    std::printf("%s\n", record.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

// One bad image never stops the others; the exit code is 1 if there was one.
int predict(Model& model, const std::vector<std::string>& paths, bool as_json) {
    int failed = 0;
    for (const std::string& path : paths) {
        try {
            print(model, path, model.judge(path), as_json);
        } catch (const std::exception& error) {
            failed++;
            say(path + "  Error - " + error.what());
        }
        std::fflush(stdout);
    }
    if (failed) say(std::to_string(failed) + " of " + std::to_string(paths.size()) + " inputs failed.");
    return failed ? 1 : 0;
}

int refuse(const std::string& reason) {
    say(reason);
    return 2;
}

}  // namespace

int main(int count, char** arguments) {
    bool as_json = false;
    double rate = 0;
    std::vector<std::string> names;
    for (int i = 1; i < count; i++) {
        const std::string argument = arguments[i];
        if (argument == "--json") {
            as_json = true;
        } else if (argument == "--false_alarm_rate" && i + 1 < count) {
            rate = std::strtod(arguments[++i], nullptr);
            if (!(rate > 0 && rate < 1)) return refuse("a false-alarm rate lies between 0 and 1, as 0.01");
        } else if (argument.rfind("--", 0) == 0) {
            return refuse(USAGE);
        } else {
            names.push_back(argument);
        }
    }
    if (names.size() < 2) return refuse(USAGE);
    try {
        const fs::path folder = find_model(names[0]);
        Model model(folder, read_info(folder), rate);
        if (!model.calibration.is_calibrated())
            say("the model is not calibrated: its threshold stands for no false-alarm rate.");
        return predict(model, {names.begin() + 1, names.end()}, as_json);
    } catch (const std::exception& error) {
        return refuse("model " + names[0] + ": " + error.what());
    }
}
