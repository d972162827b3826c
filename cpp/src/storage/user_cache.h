// Where a program keeps what it can do without.
#pragma once

#include <string>

namespace edgemoe {

// The folder for small files that make later runs better: $XDG_CACHE_HOME/edgemoe, else $HOME/.cache/edgemoe. It is not
// made. Empty where neither is set to an absolute path.
std::string user_cache_folder();

}  // namespace edgemoe
