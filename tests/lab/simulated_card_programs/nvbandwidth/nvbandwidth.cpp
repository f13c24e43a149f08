// SIMULATED: of the shape of nvbandwidth, and not nvbandwidth.
#include <boost/program_options.hpp>
#include <iostream>

void copy();
namespace opt = boost::program_options;

int main(int argc, char **argv) {
    opt::options_description options("SIMULATED nvbandwidth " GIT_VERSION);
    options.add_options()("help,h", "what this can do");
    opt::variables_map found;
    opt::store(opt::command_line_parser(argc, argv).options(options).run(), found);
    std::cout << options;
    if (!found.count("help")) copy();
    return found.count("help") ? 0 : 1;
}
