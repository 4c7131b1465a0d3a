// What good images scored, and the threshold that follows from it: `calibration` of model.json.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <vector>

#include <nlohmann/json.hpp>

// Each image of a part that m images show weighs 1/m. With G parts, the p-value of a score is
// (1 + weight of the good scores at least as large) / (G + 1); an image is anomalous where that is at most the rate.
// Good images of several sessions are ranked session by session, and the largest p-value and threshold count.
struct Calibration {
    struct Ranked {
        std::vector<double> levels;    // distinct good scores, ascending
        std::vector<double> p_values;  // of scores up to each level; the last one, of those above all
    };
    std::vector<Ranked> sessions;  // one for all images where the model tells no sessions
    std::size_t part_count;
    double rate;
    double threshold;

    // `stated_rate` replaces the model's own false-alarm rate unless it is 0.
    template <typename Json>
    Calibration(const Json& record, double stated_rate) {
        const auto scores = record.at("scores").template get<std::vector<double>>();
        const auto parts = record.at("parts").template get<std::vector<std::int64_t>>();
        std::vector<std::size_t> numbers(scores.size());  // of each image's session
        if (record.contains("sessions")) record.at("sessions").at("numbers").get_to(numbers);
        if (scores.size() != parts.size() || scores.size() != numbers.size())
            throw std::runtime_error("`calibration` has not as many scores as parts or sessions");
        for (const auto session : std::set<std::size_t>(numbers.begin(), numbers.end())) {
            std::vector<double> own_scores;
            std::vector<std::int64_t> own_parts;
            for (std::size_t i = 0; i < scores.size(); i++)
                if (numbers[i] == session) own_scores.push_back(scores[i]), own_parts.push_back(parts[i]);
            sessions.push_back(rank(own_scores, own_parts));
        }
        part_count = std::set<std::int64_t>(parts.begin(), parts.end()).size();
        if (!is_calibrated() && stated_rate > 0)
            throw std::runtime_error("the model is not calibrated, so it takes no --false_alarm_rate");
        rate = stated_rate > 0 ? stated_rate : record.at("false_alarm_rate").template get<double>();
        threshold = sessions.empty() ? record.at("fixed_threshold").template get<double>() : limit(sessions.front());
        for (const auto& session : sessions) threshold = std::max(threshold, limit(session));
    }

    // A model that was imported without good images has a fixed threshold only, and that of one part is a guess.
    bool is_calibrated() const { return part_count > 1; }

    double p_value(double score) const {
        double largest = 0;
        for (const auto& [levels, p_values] : sessions) {
            const auto place = std::lower_bound(levels.begin(), levels.end(), score) - levels.begin();
            largest = std::max(largest, p_values[std::size_t(place)]);
        }
        return largest;
    }

  private:
    double limit(const Ranked& ranked) const {
        const auto& [levels, p_values] = ranked;
        const auto above = std::count_if(p_values.begin() + 1, p_values.end(), [this](double p) { return p > rate + 1e-9; });
        return levels[std::min(std::size_t(above), levels.size() - 1)];
    }

    static Ranked rank(const std::vector<double>& scores, const std::vector<std::int64_t>& parts) {
        std::map<std::int64_t, int> images;  // of each part
        for (const auto part : parts) images[part]++;
        const double total = double(images.size()) + 1, unit = whole_unit(images, total);
        std::map<double, double, std::greater<>> weights;  // of each score, the largest first
        for (std::size_t i = 0; i < scores.size(); i++) weights[scores[i]] += unit / images[parts[i]];

        Ranked ranked;
        auto& [levels, p_values] = ranked;
        double at_least = 0;
        p_values.push_back(1 / total);
        for (const auto& [level, weight] : weights) {
            at_least += weight;
            levels.push_back(level);
            p_values.push_back((unit + at_least) / (unit * total));
        }
        std::reverse(levels.begin(), levels.end());
        std::reverse(p_values.begin(), p_values.end());
        return ranked;
    }

    // In units that every number of images divides, weights are whole and their sums exact, as long as they are small.
    static double whole_unit(const std::map<std::int64_t, int>& images, double total) {
        std::int64_t unit = 1;
        for (const auto& [part, count] : images) {
            unit = std::lcm(unit, std::int64_t(count));
            if (double(unit) * total >= 0x1p53) return 1;
        }
        return double(unit);
    }
};
