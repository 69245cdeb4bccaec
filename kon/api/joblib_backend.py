"""The backend "kon" of joblib: `kon.register_joblib()`, then `joblib.parallel_config(backend="kon")`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from kon.api.executor import Executor
from kon.core.distribution import install
from kon.core.errors import ConfigurationError
from kon.core.spec import processors


def register_joblib() -> None:
    """Make `kon` known to joblib. Raises ConfigurationError where joblib is not installed.

    Options of `kon.Executor` go to `joblib.parallel_config`: `backend="kon", out="records"`.
    """
    try:
        from joblib import register_parallel_backend
    except ImportError as error:
        raise ConfigurationError(
            f"kon.register_joblib: joblib is not installed; {install('joblib')}"
        ) from error
    register_parallel_backend("kon", _backend())


def _backend() -> type[Any]:
    """The backend's class, which needs joblib's own."""
    from joblib._parallel_backends import AutoBatchingMixin
    from joblib.parallel import ParallelBackendBase

    class KonBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc] # joblib carries no types
        """Has the batches of `joblib.Parallel` run by an Executor, which lasts as long as joblib keeps it."""

        supports_retrieve_callback = True
        supports_inner_max_num_threads = False
        default_n_jobs = -1

        def __init__(self, **options: Any) -> None:
            own = {
                name: options.pop(name)
                for name in ("nesting_level", "inner_max_num_threads")
                if name in options
            }
            super().__init__(**own)
            self._options = options
            self._executor: Executor | None = None
            self._futures: set[Future[Any]] = set()

        def effective_n_jobs(self, n_jobs: int | None) -> int:
            """Raises ValueError for 0, as joblib has it."""
            if n_jobs == 0:
                raise ValueError("n_jobs == 0 in Parallel has no meaning")
            if n_jobs is None:
                return 1
            return n_jobs if n_jobs > 0 else max(1, processors() + 1 + n_jobs)

        def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
            wanted = self.effective_n_jobs(n_jobs)
            self.parallel = parallel
            self._executor = Executor(wanted, **self._options)
            return wanted

        def submit(
            self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None
        ) -> Future[Any]:
            assert self._executor is not None, "configure comes first"
            future = self._executor.submit(func)
            self._futures.add(future)
            future.add_done_callback(self._futures.discard)
            if callback is not None:
                future.add_done_callback(callback)
            return future

        apply_async = submit

        def retrieve_result_callback(self, out: Future[Any]) -> Any:
            return out.result()

        def abort_everything(self, ensure_ready: bool = True) -> None:
            for future in list(self._futures):
                future.cancel()
            if not ensure_ready:
                self.terminate()

        def terminate(self) -> None:
            if self._executor is not None:
                self._executor.shutdown(wait=True, cancel_futures=True)
                self._executor = None

    return KonBackend
