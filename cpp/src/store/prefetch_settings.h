// What may be read ahead of its demand, and by which figures that is decided. docs/prefetch.md explains them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgemoe {

enum class Prefetch : int {
    kOff,     // forecasts are ignored
    kAuto,    // as long as it pays
    kAlways,  // whether it pays or not: for measurements
};

namespace prefetch {

// Forecasts whose chance (ForecastRecord) is below kLeastChance protect nothing, and below kLeastChanceToRead are not
// read: where the disk or the processor has little time to spare, a wrong read costs about what a right one saves.
constexpr float kLeastChance = 0.3F;
constexpr float kLeastChanceToRead = 0.7F;

// A chance is a mean over the latest kMostForecasts or so of its kind; what the predictor says counts as much as
// kFirstForecasts of them.
constexpr float kMostForecasts = 256;
constexpr float kFirstForecasts = 4;

// The allowance, in bytes. It begins with kFirstExperts of the largest experts; every byte that was read on demand adds
// kTrialShare of itself, and every byte that was read ahead and used adds kReturn; what is read ahead is taken from it.
// So it grows while more than 1 / kReturn of what is read ahead is used, and else falls to what kTrialShare pays for,
// which is the next trial. At most one token's experts.
constexpr uint64_t kFirstExperts = 4;
constexpr double kTrialShare = 0.01;
constexpr double kReturn = 1.6;

// Reads of forecasts that are in flight at once take at most this share of the read buffers. Reads that pre-warm are
// few, since they may be in the way of many demand reads.
constexpr size_t kBufferShare = 2;  // one half
constexpr size_t kPrewarmReads = 2;

// Passes over the layers are made with reads ahead and without in turn. A trial is of the way that is not preferred: of
// at least kTrialPasses passes that are measured, and kTrialSeconds, since a limit on bytes may be kept over a tenth of
// a second, so that in short turns one way pays for the other's reads. It ends after kLeastTrialPasses and
// kLeastTrialSeconds when the way that is tried is worse by kErrorsToGiveUp standard errors. A stretch of the preferred
// way follows, of kFirstStretch parts as long as a whole trial, then kGrowth times as many with each trial after which
// the preference is right beyond chance, up to kLongestStretch; while a difference is neither sure nor excluded, at
// most kFirstStretch, beginning with 1, then twice as many; it ends early when what is preferred has become worse than
// the other way was. The first pass of a turn, and all in its first kUnsettledSeconds, are not measured. What layers
// took in a trial is compared with the latest parts of the stretch before it; what earlier trials showed counts
// kRemembered as much with each. Reading ahead begins when it takes at most kMostToBegin of the time without, and goes
// on while it takes at most kMostToGoOn; what could be chance, within kErrors standard errors (which are taken to be at
// least kLeastError of the time), changes nothing: one pass that was disturbed, however long, is about one such error,
// and two are 1.5.
constexpr int32_t kTrialPasses = 16;
constexpr double kTrialSeconds = 0.3;
constexpr int32_t kLeastTrialPasses = 8;
constexpr double kLeastTrialSeconds = 0.15;
constexpr double kUnsettledSeconds = 0.1;
constexpr int32_t kFirstStretch = 4;
constexpr int32_t kGrowth = 4;
constexpr int32_t kLongestStretch = 16;
constexpr double kRemembered = 0.5;
constexpr double kMostToBegin = 0.97;
constexpr double kMostToGoOn = 0.99;
constexpr double kErrors = 1.7;
constexpr double kErrorsToGiveUp = 3;
constexpr double kLeastError = 0.001;

// Recall is counted for forecasts of up to so many layers ahead.
constexpr int32_t kMostDistance = 4;

}  // namespace prefetch
}  // namespace edgemoe
