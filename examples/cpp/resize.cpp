// The one resize to a model's input, as OpenCV's INTER_AREA and INTER_LINEAR compute it for 8-bit images.
#include "image.hpp"

#include <algorithm>
#include <cmath>

namespace {

struct Share {
    int target, source;
    float weight;
};

// What each source pixel gives to each target pixel along one axis; slivers below 1/1000 pixel are left out.
std::vector<Share> area_shares(int source, int target) {
    const double scale = 1.0 / (double(target) / source);
    std::vector<Share> shares;
    for (int i = 0; i < target; i++) {
        const double begin = i * scale, end = begin + scale, cell = std::min(scale, source - begin);
        const int last = std::min(int(std::floor(end)), source - 1), first = std::min(int(std::ceil(begin)), last);
        if (first - begin > 1e-3) shares.push_back({i, first - 1, float((first - begin) / cell)});
        for (int k = first; k < last; k++) shares.push_back({i, k, float(1.0 / cell)});
        if (end - last > 1e-3) shares.push_back({i, last, float(std::min(std::min(end - last, 1.0), cell) / cell)});
    }
    return shares;
}

std::uint8_t rounded(float value) { return std::uint8_t(std::clamp(std::nearbyint(value), 0.0f, 255.0f)); }

Image average_blocks(const Image& image, int width, int height) {
    const int across = image.width / width, down = image.height / height;
    const float scale = 1.0f / float(across * down);
    Image small(width, height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                int sum = 0;
                for (int v = 0; v < down; v++)
                    for (int u = 0; u < across; u++) sum += image.pixel(x * across + u, y * down + v)[c];
                // OpenCV rounds halves up in blocks of 2 x 2, elsewhere to even
                const bool is_pair = across == 2 && down == 2;
                small.pixel(x, y)[c] = is_pair ? std::uint8_t((sum + 2) >> 2) : rounded(float(sum) * scale);
            }
    return small;
}

Image average(const Image& image, int width, int height) {
    if (image.width % width == 0 && image.height % height == 0) return average_blocks(image, width, height);
    const auto across = area_shares(image.width, width), down = area_shares(image.height, height);
    std::vector<float> row(std::size_t(width) * 3), sum(row.size());  // (width, 3)
    Image small(width, height);
    for (std::size_t k = 0; k < down.size(); k++) {
        std::fill(row.begin(), row.end(), 0.0f);
        for (const Share& share : across)
            for (int c = 0; c < 3; c++)
                row[3 * share.target + c] += float(image.pixel(share.source, down[k].source)[c]) * share.weight;
        for (std::size_t i = 0; i < row.size(); i++) sum[i] += down[k].weight * row[i];
        if (k + 1 == down.size() || down[k + 1].target != down[k].target) {
            std::transform(sum.begin(), sum.end(), small.pixel(0, down[k].target), rounded);
            std::fill(sum.begin(), sum.end(), 0.0f);
        }
    }
    return small;
}

// The two source pixels around each target pixel along one axis, and their weights in 1/2048.
struct Pair {
    int first, second, weight_first, weight_second;
};

std::vector<Pair> linear_pairs(int source, int target) {
    const double scale = 1.0 / (double(target) / source);
    std::vector<Pair> pairs;
    for (int i = 0; i < target; i++) {
        const float position = float((i + 0.5) * scale - 0.5);
        const int floor = int(std::floor(position));
        const float share = position - float(floor);
        pairs.push_back({std::clamp(floor, 0, source - 1), std::clamp(floor + 1, 0, source - 1),
                         int(std::nearbyint((1 - share) * 2048)), int(std::nearbyint(share * 2048))});
    }
    return pairs;
}

Image interpolate(const Image& image, int width, int height) {
    const auto across = linear_pairs(image.width, width), down = linear_pairs(image.height, height);
    Image large(width, height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                const Pair p = across[x], q = down[y];
                const auto at = [&](int row) {
                    const int left = image.pixel(p.first, row)[c], right = image.pixel(p.second, row)[c];
                    return p.weight_first * left + p.weight_second * right;
                };
                const int above = q.weight_first * (at(q.first) >> 4) >> 16;
                const int below = q.weight_second * (at(q.second) >> 4) >> 16;
                large.pixel(x, y)[c] = std::uint8_t((above + below + 2) >> 2);
            }
    return large;
}

}  // namespace

Image resize(const Image& image, int width, int height) {
    if (image.width == width && image.height == height) return image;
    if (width <= image.width && height <= image.height) return average(image, width, height);
    return interpolate(resize(image, std::min(width, image.width), std::min(height, image.height)), width, height);
}

Image mirror(const Image& image, int width, int height) {
    const auto source = [](int at, int size) { return at % (2 * size) < size ? at % size : size - 1 - at % size; };
    Image filled(width, height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            std::copy_n(image.pixel(source(x, image.width), source(y, image.height)), 3, filled.pixel(x, y));
    return filled;
}
