// Scores images with a Blemish model through OpenVINO, as `blemish predict` does.
// The model folder is specified in docs/model-format.md.
#include "image.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <stdexcept>

#include <nlohmann/json.hpp>
#include <openvino/openvino.hpp>

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* USAGE = "usage: blemish_predict [--json] [--false_alarm_rate RATE] MODEL IMAGE...";

// What good images score, held out. A part with m images weighs 1/m an image; with G parts, the p-value of a score is
// (1 + weight of the good scores at least as large) / (G + 1), and an image is anomalous where that is at most the rate.
struct Calibration {
    std::vector<double> levels;    // distinct good scores, ascending
    std::vector<double> p_values;  // of scores up to each level; the last one, of those above all
    double rate = 0;
    double threshold = 0;
    bool is_calibrated = true;

    Calibration(const Json& record, double stated_rate) {
        const auto scores = record.at("scores").get<std::vector<double>>();
        const auto parts = record.at("parts").get<std::vector<long>>();
        if (scores.size() != parts.size()) throw std::runtime_error("calibration needs as many scores as parts");
        std::map<long, int> images;
        for (long part : parts) images[part]++;
        std::map<double, double, std::greater<>> weights;  // by score, the largest first
        for (std::size_t i = 0; i < scores.size(); i++) weights[scores[i]] += 1.0 / images[parts[i]];

        const double total = double(images.size()) + 1;
        double at_least = 0;
        p_values.push_back(1 / total);
        for (const auto& [level, weight] : weights) {
            at_least += weight;
            levels.push_back(level);
            p_values.push_back((1 + std::nearbyint(at_least * 1e9) / 1e9) / total);  // thirds add up to one
        }
        std::reverse(levels.begin(), levels.end());
        std::reverse(p_values.begin(), p_values.end());
        set_threshold(record, stated_rate);
    }

    double p_value(double score) const {
        return p_values[std::size_t(std::lower_bound(levels.begin(), levels.end(), score) - levels.begin())];
    }

  private:
    void set_threshold(const Json& record, double stated_rate) {
        is_calibrated = !levels.empty();
        rate = stated_rate > 0 ? stated_rate : record.at("false_alarm_rate").get<double>();
        if (!is_calibrated) {
            if (stated_rate > 0) throw std::runtime_error("the model is not calibrated, so it takes no --false_alarm_rate");
            threshold = record.at("fixed_threshold").get<double>();
            return;
        }
        const auto above = std::count_if(p_values.begin() + 1, p_values.end(), [&](double p) { return p > rate; });
        threshold = levels[std::min(std::size_t(above), levels.size() - 1)];
    }
};

Json read_info(const fs::path& folder) {
    std::ifstream file(folder / "model.json");
    const Json info = Json::parse(file);
    if (info.at("format") != "blemish-model") throw std::runtime_error("model.json is not of a Blemish model");
    const Json& input = info.at("input");
    if (info.at("format_version") > 2 || input.at("resize") != "area" || input.at("colour") != "RGB")
        throw std::runtime_error("the model was written by a newer Blemish than this program knows");
    if (input.contains("tiles") || input.contains("area"))
        throw std::runtime_error("the model has tiles or a region of interest, which this program does not support");
    for (const auto& [name, stated] : info.at("files").items())
        if (!fs::exists(folder / name) || fs::file_size(folder / name) != stated.at("bytes"))
            throw std::runtime_error(name + " is missing, cut short or changed");
    return info;
}

struct Verdict {
    double score, p_value;
    bool is_anomalous;
    int width, height;
    std::map<std::string, double> milliseconds;
};

class Model {
  public:
    Model(const fs::path& folder, double rate)
        : info_(read_info(folder)), calibration(info_.at("calibration"), rate), name(info_.at("detector").at("name")) {
        const Json& input = info_.at("input");
        width_ = input.at("width");
        height_ = input.at("height");
        aspect_ = input.at("aspect");
        bit_depth_ = input.at("bit_depth");
        if (!(aspect_ > 0) || bit_depth_ < 10 || bit_depth_ > 16) throw std::runtime_error("model.json, `input`: is invalid");

        ov::Core core;
        auto network = core.read_model(folder / (fs::exists(folder / "model.xml") ? "model.xml" : "model.onnx"));
        network->reshape(ov::PartialShape{1, height_, width_, 3});
        // The default is bfloat16 where the processor has it, which moves scores.
        request_ = core.compile_model(network, "CPU", ov::hint::inference_precision(ov::element::f32),
                                      ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY)).create_infer_request();
    }

    Verdict judge(const std::string& path) {
        using Clock = std::chrono::steady_clock;
        const auto since = [](Clock::time_point start) {
            return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
        };
        Verdict verdict{};
        auto start = Clock::now();
        Image image = read_image(path, bit_depth_);
        verdict.milliseconds["read"] = since(start);

        start = Clock::now();
        verdict.width = image.width, verdict.height = image.height;
        const double ratio = double(image.width) / image.height / aspect_;
        const int box_width = std::max(1, int(std::nearbyint(width_ * std::min(1.0, ratio))));
        const int box_height = std::max(1, int(std::nearbyint(height_ * std::min(1.0, 1 / ratio))));
        Image input = mirror(resize(image, box_width, box_height), width_, height_);
        verdict.milliseconds["resize"] = since(start);

        start = Clock::now();
        request_.set_input_tensor(ov::Tensor(ov::element::u8, {1, std::size_t(height_), std::size_t(width_), 3}, input.rgb.data()));
        request_.infer();
        verdict.score = score_of(box_width, box_height);
        verdict.milliseconds["network"] = since(start);
        verdict.p_value = calibration.p_value(verdict.score);
        verdict.is_anomalous = verdict.score > calibration.threshold;
        return verdict;
    }

  private:
    // Where the score is the largest value of the map, what was mirrored beside the image does not count in it.
    float score_of(int box_width, int box_height) {
        const ov::Tensor map = request_.get_tensor("anomaly_map");  // (1, h, w)
        const float* cells = map.data<float>();
        const float score = request_.get_tensor("score").data<float>()[0];
        if (score != *std::max_element(cells, cells + map.get_size())) return score;
        const int rows = int(map.get_shape()[1]), columns = int(map.get_shape()[2]);
        const int own_rows = (box_height * rows + height_ - 1) / height_;
        const int own_columns = (box_width * columns + width_ - 1) / width_;
        float largest = cells[0];
        for (int row = 0; row < own_rows; row++)
            largest = std::max(largest, *std::max_element(cells + row * columns, cells + row * columns + own_columns));
        return largest;
    }

    Json info_;
    int width_ = 0, height_ = 0, bit_depth_ = 16;
    double aspect_ = 1;
    ov::InferRequest request_;

  public:
    Calibration calibration;
    std::string name;
};

// Control characters of a file name must not break the line, nor steer the terminal.
std::string one_line(std::string text) {
    std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; }, '?');
    return text;
}

void print_json(const Model& model, const std::string& path, const Verdict& verdict) {
    const Calibration& calibration = model.calibration;
    const Json record = {
        {"input_path", path},
        {"score", verdict.score},
        {"p_value", verdict.p_value},
        {"threshold", calibration.threshold},
        {"is_anomalous", verdict.is_anomalous},
        {"label", verdict.is_anomalous ? "Anomaly" : "Normal"},
        {"false_alarm_rate", calibration.is_calibrated ? Json(calibration.rate) : Json()},
        {"model_name", model.name},
        {"size", {verdict.width, verdict.height}},
        {"timings", verdict.milliseconds},
        {"error", nullptr},
    };
    std::printf("%s\n", record.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

int predict(Model& model, const std::vector<std::string>& paths, bool as_json) {
    int failed = 0;
    for (const std::string& path : paths) {
        try {
            const Verdict verdict = model.judge(path);
            if (as_json)
                print_json(model, path, verdict);
            else
                std::printf("%s  %s - score:  %.3f\n", one_line(path).c_str(), verdict.is_anomalous ? "Anomaly" : "Normal",
                            verdict.score);
        } catch (const std::exception& error) {
            failed++;
            std::fprintf(stderr, "blemish_predict: %s  Error - %s\n", one_line(path).c_str(), error.what());
        }
        std::fflush(stdout);
    }
    if (failed) std::fprintf(stderr, "blemish_predict: %d of %zu inputs failed.\n", failed, paths.size());
    return failed ? 1 : 0;
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
            rate = std::atof(arguments[++i]);
            if (!(rate > 0 && rate < 1)) {
                std::fprintf(stderr, "blemish_predict: a false-alarm rate lies between 0 and 1, as 0.01\n");
                return 2;
            }
        } else {
            names.push_back(argument);
        }
    }
    if (names.size() < 2 || names[0].rfind("--", 0) == 0) {
        std::fprintf(stderr, "%s\n", USAGE);
        return 2;
    }
    try {
        Model model(names[0], rate);
        return predict(model, {names.begin() + 1, names.end()}, as_json);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "blemish_predict: model %s: %s\n", one_line(names[0]).c_str(), one_line(error.what()).c_str());
        return 2;
    }
}
