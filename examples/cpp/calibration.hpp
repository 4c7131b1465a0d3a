// What good images scored, and the threshold that follows from it: `calibration` of model.json.
#pragma once

#include <algorithm>
#include <cmath>
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
// Where the model is interpolated, that is the p-value of scores just above a good score, and it falls evenly to the next.
// Good images of several sessions are ranked session by session, and the largest p-value and threshold count.
struct Calibration {
    struct Ranked {
        std::vector<double> levels;    // distinct good scores, ascending
        std::vector<double> p_values;  // of scores up to each level; the last one, of those above all
        std::vector<bool> even;        // whether the p-value falls evenly up to each level, to that of the scores above it
    };
    std::vector<Ranked> sessions;  // one for all images where the model tells no sessions
    std::size_t part_count;
    double rate;
    double threshold;
    bool interpolated;

    // `stated_rate` replaces the model's own false-alarm rate unless it is 0.
    template <typename Json>
    Calibration(const Json& record, double stated_rate) {
        const auto scores = record.at("scores").template get<std::vector<double>>();
        const auto parts = record.at("parts").template get<std::vector<std::int64_t>>();
        interpolated = record.value("interpolated", false);
        std::vector<std::size_t> numbers(scores.size());  // of each image's session
        if (record.contains("sessions")) record.at("sessions").at("numbers").get_to(numbers);
        const bool is_counted = record.contains("counted");  // of very many images: entries stand for several
        std::vector<double> weights;
        if (is_counted) record.at("counted").at("weights").get_to(weights);
        if (scores.size() != (is_counted ? weights.size() : parts.size()) || scores.size() != numbers.size())
            throw std::runtime_error("`calibration` has not as many scores as parts or sessions");
        for (const auto session : std::set<std::size_t>(numbers.begin(), numbers.end())) {
            std::vector<double> own_scores, own_weights;
            std::vector<std::int64_t> own_parts;
            for (std::size_t i = 0; i < scores.size(); i++) {
                if (numbers[i] != session) continue;
                own_scores.push_back(scores[i]);
                if (is_counted) own_weights.push_back(weights[i]);
                else own_parts.push_back(parts[i]);
            }
            if (!is_counted) {
                sessions.push_back(rank(own_scores, own_parts, interpolated));
                continue;
            }
            const auto& totals = record.at("counted").at("totals").at(sessions.size());
            const auto unit = totals.at("unit").template get<double>(), count = totals.at("parts").template get<double>();
            sessions.push_back(ranked(own_scores, own_weights, unit, count + 1, interpolated));
        }
        part_count = is_counted ? record.at("counted").at("parts").template get<std::size_t>()
                                : std::set<std::int64_t>(parts.begin(), parts.end()).size();
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
        for (const auto& session : sessions) {
            const auto& levels = session.levels;
            const auto place = std::size_t(std::lower_bound(levels.begin(), levels.end(), score) - levels.begin());
            const auto step = session.even[place]
                ? first_step([&](std::int64_t one) { return score > limit_of(session, place, one); })
                : STEPS;
            largest = std::max(largest, p_value_of(session, place, step));
        }
        return largest;
    }

  private:
    static constexpr double TOLERANCE = 1e-9;  // of rates and weights that are equal but for rounding
    static constexpr std::int64_t STEPS = std::int64_t(1) << 30;  // from a level to the one below, where it is even

    double limit(const Ranked& ranked) const {
        const auto& [levels, p_values, even] = ranked;
        const double most = interpolated ? rate : rate + TOLERANCE;
        const auto above = std::count_if(p_values.begin() + 1, p_values.end(), [most](double p) { return p > most; });
        const auto place = std::min(std::size_t(above), levels.size() - 1);
        if (!even[place]) return levels[place];
        const auto beyond = first_step([&](std::int64_t step) { return p_value_of(ranked, place, step) > rate; });
        return limit_of(ranked, place, std::max<std::int64_t>(0, beyond - 1));
    }

    // At step 0 a level, at `STEPS` the one below.
    static double limit_of(const Ranked& ranked, std::size_t place, std::int64_t step) {
        const double high = ranked.levels[place], low = ranked.levels[place - 1];
        return high - (high - low) * (double(step) / double(STEPS));
    }

    static double p_value_of(const Ranked& ranked, std::size_t place, std::int64_t step) {
        if (step == STEPS) return ranked.p_values[place];
        const double least = ranked.p_values[place + 1];
        return least + (ranked.p_values[place] - least) * (double(step) / double(STEPS));
    }

    // The first step of which this is true, of steps that it is true of from some step on; `STEPS` if there is none.
    template <typename IsTrue>
    static std::int64_t first_step(IsTrue is_true) {
        std::int64_t low = 0, high = STEPS;
        while (low < high) {
            const auto middle = (low + high) / 2;
            if (is_true(middle)) high = middle;
            else low = middle + 1;
        }
        return low;
    }

    static Ranked rank(const std::vector<double>& scores, const std::vector<std::int64_t>& parts, bool interpolated) {
        std::map<std::int64_t, int> images;  // of each part
        for (const auto part : parts) images[part]++;
        const double total = double(images.size()) + 1, unit = whole_unit(images, total);
        std::vector<double> each;
        for (const auto part : parts) each.push_back(unit / images[part]);
        return ranked(scores, each, unit, total, interpolated);
    }

    // By the weight of each score; those of a part add up to the unit, and `total` is the number of parts and one.
    static Ranked ranked(const std::vector<double>& scores, const std::vector<double>& each, double unit, double total,
                         bool interpolated) {
        std::map<double, double, std::greater<>> weights;  // of each score, the largest first
        for (std::size_t i = 0; i < scores.size(); i++) weights[scores[i]] += each[i];

        Ranked ranked;
        auto& [levels, p_values, even] = ranked;
        std::vector<bool> single;  // levels of one part's weight: several parts at one score are a jump
        double at_least = 0;
        p_values.push_back(1 / total);
        for (const auto& [level, weight] : weights) {
            at_least += weight;
            levels.push_back(level);
            single.push_back(weight <= unit * (1 + TOLERANCE));
            p_values.push_back((unit + at_least) / (unit * total));
        }
        std::reverse(levels.begin(), levels.end());
        std::reverse(p_values.begin(), p_values.end());
        std::reverse(single.begin(), single.end());
        even.assign(p_values.size(), false);
        for (std::size_t i = 1; interpolated && i < levels.size(); i++)
            even[i] = single[i] && single[i - 1] && std::isfinite(levels[i] - levels[i - 1]);
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
