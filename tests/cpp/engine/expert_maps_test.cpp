#include "engine/expert_maps.h"

#include "engine/map_file.h"
#include "engine/profile.h"
#include "temporary_file.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace edgemoe {
namespace {

// Two layers, of 3 and 2 experts, whose FFN inputs have 40 columns; each looks ahead to the other, and to itself.
ExpertMaps small_maps() {
    ExpertMaps maps;
    maps.layers.resize(2);
    const LayerMap::Target first = {1, 3, 2}, second = {4, 2, 1};
    for (size_t i = 0; i < 2; i++) {
        LayerMap & map = maps.layers[i];
        map.layer = i == 0 ? first.layer : second.layer;
        map.n_input = 40;
        map.n_experts = i == 0 ? first.n_experts : second.n_experts;
        for (size_t d = 0; d < map.targets.size(); d++) {
            map.targets[d] = (i + d) % 2 == 0 ? second : first;
        }
        std::vector<float> values(static_cast<size_t>(map.n_rows() * map.n_columns()));
        for (size_t k = 0; k < values.size(); k++) {
            values[k] = std::sin(static_cast<float>(k * (i + 1)));
        }
        map.from_float(values);
    }
    return maps;
}

}  // namespace

TEST_CASE("RowsAreOfTheTargetsInOrderAndOfTheNextUse") {
    const ExpertMaps maps = small_maps();
    const LayerMap & map = maps.layers[0];
    CHECK(map.first_row(1) == 0);
    CHECK(map.first_row(2) == 2);
    CHECK(map.first_row(3) == 5);
    CHECK(map.first_row(kNextUse) == 7);
    CHECK(map.n_rows() == 10);
    CHECK(map.n_columns() == 64);  // 40, three frequencies of three experts, and 1, up to a multiple of 32
    LayerMap untrained = map;
    untrained.trained = false;
    CHECK(untrained.n_rows() == 7);
    CHECK(maps.bytes() == map.weights.size() + maps.layers[1].weights.size());
}

TEST_CASE("WeightsAreKeptInEightBits") {
    const ExpertMaps maps = small_maps();
    const std::vector<float> values = maps.layers[0].to_float();
    REQUIRE(values.size() == 640);
    for (size_t k = 0; k < values.size(); k++) {
        CHECK(std::fabs(values[k] - std::sin(static_cast<float>(k))) < 0.005F);
    }
}

TEST_CASE("ColumnsBehindTheInputAreTheHistoryAndOne") {
    const ExpertMaps maps = small_maps();
    const LayerMap & map = maps.layers[0];
    RoutingHistory history(map.n_experts);
    const std::vector<int32_t> ids = {2, 0};
    history.add({ids.data(), ids.size()});
    std::vector<float> columns(static_cast<size_t>(map.n_columns() - map.n_input), -1.0F);
    fill_history_columns(map, history, columns.data());
    CHECK(std::equal(history.frequencies().begin(), history.frequencies().end(), columns.begin()));
    CHECK(columns[9] == 1.0F);
    CHECK(std::all_of(columns.begin() + 10, columns.end(), [](float value) { return value == 0.0F; }));
}

TEST_CASE("ImpossibleShapesAreToldFromPossibleOnes") {
    CHECK(small_maps().has_possible_shapes());
    const auto impossible = [](void (*change)(ExpertMaps &)) {
        ExpertMaps maps = small_maps();
        change(maps);
        return !maps.has_possible_shapes();
    };
    CHECK(impossible([](ExpertMaps & maps) { maps.layers[0].n_input = 0; }));
    CHECK(impossible([](ExpertMaps & maps) { maps.layers[0].n_input = 1 << 30; }));
    CHECK(impossible([](ExpertMaps & maps) { maps.layers[0].n_experts = -1; }));
    CHECK(impossible([](ExpertMaps & maps) { maps.layers[1].layer = 1; }));
    CHECK(impossible([](ExpertMaps & maps) { maps.layers[1].targets[2].layer = 7; }));
    CHECK(impossible([](ExpertMaps & maps) { maps.layers[1].targets[0].n_experts = 9; }));
    CHECK(impossible([](ExpertMaps & maps) { maps.layers[1].targets[0].n_used = 4; }));
}

TEST_CASE("MapsOfAProfileAreReadAloneAndWithTheProfile") {
    const test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/a.profile";
    Profile profile;
    profile.maps = small_maps();
    REQUIRE(profile.save(path).is_ok());
    const Result<Profile> whole = Profile::load(path);
    REQUIRE_MESSAGE(whole.is_ok(), whole.status().message());
    const Result<ExpertMaps> alone = read_maps(path, kProfilePrefix);
    REQUIRE(alone.is_ok());
    for (const ExpertMaps & maps : {whole.value().maps, alone.value()}) {
        REQUIRE(maps.layers.size() == 2);
        for (size_t i = 0; i < 2; i++) {
            CHECK(maps.layers[i].weights == profile.maps.layers[i].weights);
            CHECK(maps.layers[i].targets[1].n_experts == profile.maps.layers[i].targets[1].n_experts);
        }
    }
    const Result<ExpertMaps> shapes = read_maps(path, kProfilePrefix, MapContent::kShapes);
    REQUIRE(shapes.is_ok());
    CHECK(shapes.value().bytes() == profile.maps.bytes());
    CHECK(shapes.value().layers[0].weights.empty());
    CHECK(read_maps(path, "another.").value().empty());
}

TEST_CASE("MapsThatEndTooSoonAreDamaged") {
    const test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/a.profile";
    Profile profile;
    profile.maps = small_maps();
    REQUIRE(profile.save(path).is_ok());
    std::ifstream file(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    for (size_t size = 0; size + 64 < bytes.size(); size += 101) {
        std::ofstream(path, std::ios::binary) << bytes.substr(0, size);
        CHECK(read_maps(path, kProfilePrefix).status().code() == StatusCode::kFormat);
    }
    CHECK(read_maps(folder.path() + "/b.profile", kProfilePrefix).status().code() == StatusCode::kNotFound);
}

}  // namespace edgemoe
