# Source this from bash: `. scripts/ros_env.sh`. Afterwards python, pytest, spatial3d and, where it is
# installed, ros2 see ROS 2, the virtual environment, this checkout and what colcon built from it.
spatial3d_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

. "$spatial3d_root/.venv/bin/activate"
if [ -z "${ROS_DISTRO:-}" ]; then  # no ROS was sourced: it is in the wheels of .venv
    export AMENT_PREFIX_PATH="$VIRTUAL_ENV" CMAKE_PREFIX_PATH="$VIRTUAL_ENV"
    unset _ROS_WHEELS_BOOTSTRAP_COMPLETE  # set by a python of some other environment of wheels
fi
if [ -f "$spatial3d_root/install/setup.bash" ]; then
    . "$spatial3d_root/install/setup.bash"
fi
export PYTHONPATH="$spatial3d_root${PYTHONPATH:+:$PYTHONPATH}"  # the checkout before its installed copy

# Stock Fast DDS loses most colour and depth images; this profile does not. Releases up to Humble read
# the first name, later ones both. A profile that the user chose stays.
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$spatial3d_root/resource/fastdds.xml}"
export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$FASTRTPS_DEFAULT_PROFILES_FILE}"
unset spatial3d_root
